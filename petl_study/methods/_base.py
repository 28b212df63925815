"""What a method is: hyperparameters with their search space, which of the backbone it tunes, what it adds and where.

A method is a frozen dataclass in a file of its own, registered by name. Its fields are its hyperparameters.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from torch import Tensor, nn

from petl_study.errors import InputError, unknown
from petl_study.methods import _plugins, _state

Data = Iterable[tuple[Tensor, Tensor]]  # images (B, 3, H, W) as the model takes them, labels (B,)


@dataclass(frozen=True)
class Method:
    """Base of all methods. A subclass says what it tunes (`own`), what it adds (`inject`), or both."""

    name: ClassVar[str]
    paper: ClassVar[str]
    extra: ClassVar[str | None]  # the optional package that it is made with

    def own(self, model: nn.Module) -> set[str]:
        """Names of the backbone's own parameters that are trained as they are."""
        return set()

    def inject(self, model: nn.Module, data: Data | None) -> None:
        """Wrap the modules at the method's sites, in place."""

    def apply(self, model: nn.Module, data: Data | None = None) -> nn.Module:
        """Make `model` tunable by this method, in place; everything else but the classifier is frozen.

        Parameters
        ----------
        model : nn.Module
            An unmodified timm model.
        data : iterable of (images, labels), optional
            The task's training batches, for methods that look at the task first.

        Returns
        -------
        nn.Module
            `model` itself.

        Raises
        ------
        InputError
            The model carries a method already, or is of a family in which this method has no meaning.
        """
        _state.require_plain(model)
        plain = dict(model.named_parameters())
        classifier = _state.classifier_names(model)
        own = self.own(model)
        tuned = [name for name in plain if name in own and name not in classifier]
        there = set(model.modules())
        with _state.unchanged_on_error(model):
            self.inject(model, data)
        for module in set(model.modules()) - there:
            module.training = model.training  # a model in eval mode stays one, dropout of the method's own included
        _state.adopt(model, self, plain=plain, tuned=tuned, classifier=classifier)
        return model


# ------------------------------------------------------------------------------------------------------ hyperparameters


def searched(default: Any, *values: Any, at_least: float = -math.inf, at_most: float = math.inf) -> Any:
    """A hyperparameter: its default, then the values that a search tries, then the bounds that it must keep."""
    return dataclasses.field(default=default, metadata={"search": list(values), "bounds": (at_least, at_most)})


def fixed(default: Any, *, at_least: float = -math.inf, at_most: float = math.inf) -> Any:
    """A hyperparameter that can be set but is not searched."""
    return searched(default, at_least=at_least, at_most=at_most)


def _checked(method: str, field: dataclasses.Field[Any], value: Any) -> Any:
    """`value` if it is of the default's type (a whole number will do for a real), finite and in bounds."""
    expected: type = type(field.default)
    fits = type(value) is expected or (expected is float and type(value) is int)
    low, high = field.metadata["bounds"]
    if fits and (expected not in (int, float) or (math.isfinite(value) and low <= value <= high)):
        return expected(value)
    kind = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}.get(
        expected, expected.__name__
    )
    bound = f" of at least {low:g}" if low > -math.inf else ""
    bound += f" and at most {high:g}" if high < math.inf else ""
    raise InputError(f"{method}: {field.name} must be {kind}{bound}, got {value!r}; the default is {field.default!r}.")


# ------------------------------------------------------------------------------------------------------------- registry

_METHODS: dict[str, type[Method]] = {}
M = TypeVar("M", bound=type[Method])


def register(name: str, *, paper: str, extra: str | None = None) -> Callable[[M], M]:
    """Class decorator: `name` is how studies call the method, `paper` its source.

    A method that needs an optional package, `extra`, is there only where that is installed.

    Raises
    ------
    InputError
        Another method has that name, or a hyperparameter says neither what is searched nor that it is fixed.
    """

    def add(cls: M) -> M:
        if name in _METHODS:
            both = " and ".join(f"{c.__module__}.{c.__qualname__}" for c in (_METHODS[name], cls))
            raise InputError(f"method {name!r} is registered twice, as {both}. Rename one of them.")
        if plain := [field.name for field in dataclasses.fields(cls) if "bounds" not in field.metadata]:
            raise InputError(f"method {name!r}: write the default of {plain[0]} with searched(...) or fixed(...).")
        cls.name, cls.paper, cls.extra = name, paper, extra
        _METHODS[name] = cls
        return cls

    return add


def list_methods() -> list[str]:
    """Names of all methods, those of installed plug-ins included, sorted."""
    _plugins.load(_METHODS)
    extras = {cls.extra for cls in _METHODS.values() if cls.extra}
    absent = {extra for extra in extras if importlib.util.find_spec(extra) is None}
    return sorted(name for name, cls in _METHODS.items() if cls.extra not in absent)


def get(name: str) -> type[Method]:
    """The class of method `name`.

    Raises
    ------
    InputError
        No method has that name; the message lists those that are, and the plug-ins that could not be loaded. Or it
        needs a package that is not installed.
    """
    known = list_methods()
    try:
        cls = _METHODS[name]
    except (KeyError, TypeError):
        raise InputError(" ".join([str(unknown("method", name, known)), *_plugins.failures()])) from None
    if name not in known:
        raise InputError(
            f"method {name!r} needs the package {cls.extra}, which is not installed;"
            f" pip install 'petl_study[{cls.extra}]'."
        )
    return cls


def search_space(name: str) -> dict[str, list[Any]]:
    """The values that a search tries for each of the method's hyperparameters, as in the study (arXiv 2409.16434).

    >>> search_space("lora")
    {'rank': [1, 8, 16, 32]}
    """
    return {f.name: list(f.metadata["search"]) for f in dataclasses.fields(get(name)) if f.metadata.get("search")}


def create(name: str, **hyperparameters: Any) -> Method:
    """The method `name` with `hyperparameters`, the rest at their defaults.

    Raises
    ------
    InputError
        An unknown method or hyperparameter, or a value of the wrong type or out of bounds.
    """
    cls = get(name)
    fields = {f.name: f for f in dataclasses.fields(cls)}
    for given in hyperparameters:
        if given not in fields:
            raise unknown(f"hyperparameter of {name}", given, fields)
    return cls(**{key: _checked(name, fields[key], value) for key, value in hyperparameters.items()})
