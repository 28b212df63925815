"""The methods, by name, and what can be done with a model that carries one.

    method = create("lora", rank=8)
    method.apply(model)                     # in place, on an unmodified timm model
    ...                                     # train trainable_parameters(model, classifier=True)
    merge(model)                            # the plain timm model again, tuned

A method is one module of this package; all of them are found and registered here.
"""

from __future__ import annotations

import importlib
import pkgutil

from petl_study.errors import NotMergeable
from petl_study.methods._base import Method, create, get, list_methods, register, search_space
from petl_study.methods._state import load_state_dict, merge, scale, state_dict, trainable_parameters

__all__ = [
    "Method",
    "NotMergeable",
    "create",
    "get",
    "list_methods",
    "load_state_dict",
    "merge",
    "register",
    "scale",
    "search_space",
    "state_dict",
    "trainable_parameters",
]

for _module in pkgutil.iter_modules(__path__):
    if not _module.name.startswith("_"):
        importlib.import_module(f"{__name__}.{_module.name}")
