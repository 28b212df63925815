"""The methods, by name, and what can be done with a model that carries one.

    method = create("lora", rank=8)
    method.apply(model)                     # in place, on an unmodified timm model
    ...                                     # train trainable_parameters(model, classifier=True)
    merge(model)                            # the plain timm model again, tuned

A method is one module of this package; all of them are found and registered here. Those of other packages are found
through their entry points (`_plugins`) when methods are first asked for. What a method is written with, `Method`,
`register`, `searched`, `fixed`, `sites`, `wrap` and `Wrapper`, is here too, and `check` tries one (CONTRIBUTING.md).
"""

from __future__ import annotations

import importlib
import pkgutil

from petl_study.errors import NotMergeable
from petl_study.methods._base import (
    Data,
    Method,
    create,
    fixed,
    get,
    list_methods,
    register,
    search_space,
    searched,
)
from petl_study.methods._check import check
from petl_study.methods._sites import sites, trunk, wrap
from petl_study.methods._state import (
    forget_start,
    load_state_dict,
    merge,
    scale,
    state_dict,
    trainable_parameters,
)
from petl_study.methods._wrapper import Wrapper

__all__ = [
    "Data",
    "Method",
    "NotMergeable",
    "Wrapper",
    "check",
    "create",
    "fixed",
    "forget_start",
    "get",
    "list_methods",
    "load_state_dict",
    "merge",
    "register",
    "scale",
    "search_space",
    "searched",
    "sites",
    "state_dict",
    "trainable_parameters",
    "trunk",
    "wrap",
]

for _module in pkgutil.iter_modules(__path__):
    if not _module.name.startswith("_"):
        importlib.import_module(f"{__name__}.{_module.name}")
