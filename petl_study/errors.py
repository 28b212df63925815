"""What the user can mend: every such mistake is an `InputError`, which the command line prints without a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Wrong input: a name, a value, a file. The message says what, where, what is allowed and how to mend it."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, once what was under way is dropped. The message says what is kept."""


class DamagedRecord(InputError):
    """A stored record that is truncated, altered or of an unknown format; `reason` says which without the remedy."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason or message


class NotMergeable(InputError):
    """The method computes something that no weights of the plain backbone can express."""


def unknown(kind: str, name: object, known: Iterable[str], where: str = "") -> InputError:
    """The error for a name that is not in a list: shows the list, and the nearest name when one is near.

    >>> print(unknown("method", "lorra", ["bitfit", "lora"]))
    unknown method 'lorra'; known: bitfit, lora. Did you mean 'lora'?
    """
    known = sorted(known)
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    place = f"{where}: " if where else ""
    return InputError(f"{place}unknown {kind} {name!r}; known: {', '.join(known) or 'none'}.{hint}")
