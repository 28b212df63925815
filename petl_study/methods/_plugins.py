"""Methods of other packages. A distribution names the module that registers them in its pyproject.toml:

    [project.entry-points."petl_study.methods"]
    lora_fa = "petl_lora_fa"

The module is imported when methods are first asked for. One that fails takes nothing else with it: a warning names the
distribution and the error, and so does the error for a method that is then not found.
"""

from __future__ import annotations

import warnings
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from petl_study.methods._base import Method

GROUP = "petl_study.methods"

_distributions: dict[str, str] = {}  # of every plug-in's module
_failures: list[str] = []
_asked = False


def load(registry: dict[str, type[Method]]) -> None:
    """Let every installed plug-in register its methods, once in a process."""
    global _asked
    if _asked:
        return
    _asked = True  # before the first import: a plug-in may ask for methods itself
    for plugin in entry_points(group=GROUP):
        before = dict(registry)
        try:
            plugin.load()
        except Exception as error:  # it is someone else's code: anything can come out of it
            registry.clear()
            registry.update(before)  # half of a package's methods would be worse than none
            _failures.append(
                f"the methods of {_distribution(plugin)} are left out: importing {plugin.value} failed with"
                f" {type(error).__name__}: {str(error).rstrip('.')}. Update or uninstall that package."
            )
            warnings.warn(_failures[-1], stacklevel=3)  # at the caller of `list_methods` or `get`
        _distributions[plugin.module] = _distribution(plugin)


def origin(method: type[Method]) -> str | None:
    """The distribution, or else the module, that a method comes from; None for one of this package."""
    module = method.__module__
    if module.startswith(f"{__package__}."):
        return None
    found = [dist for plugin, dist in _distributions.items() if f"{module}.".startswith(f"{plugin}.")]
    return found[0] if found else module


def failures() -> list[str]:
    """Why plug-ins that are installed are not here: a sentence each."""
    return list(_failures)


def _distribution(plugin: EntryPoint) -> str:
    return f"{plugin.dist.name} {plugin.dist.version}" if plugin.dist else f"the plug-in {plugin.name!r}"
