"""Whether a record's header, which may be anyone's, is built as its readers take it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOST = 2**53  # of a count: what JSON keeps exactly

Check = Callable[[Any], bool]


def wrong(header: Mapping[str, Any]) -> str:
    """What of `header` is not as records have it, in words; nothing where all is.

    Fields that are not known are let be, and those that may be absent, too: what a reader needs beyond this, it says.
    """
    for name, (required, check) in _FIELDS.items():
        if name in header:
            if not check(header[name]):
                return f"{name} is not as records have it"
        elif required:
            return f"it has no {name}"
    if header["status"] == "failed" and "message" not in (header.get("error") or {}):
        return "it failed and does not say why"
    return ""


def _number(value: Any) -> bool:
    """Null is what a record keeps of a number that is none."""
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e300)


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _maybe(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _list(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _mapping(check: Check, name: Check = _text) -> Check:
    return lambda value: isinstance(value, dict) and all(name(key) and check(one) for key, one in value.items())


def _fields(**checks: Check) -> Check:
    """An object; of the fields named, those that are there."""
    return lambda value: (
        isinstance(value, dict) and all(check(value[name]) for name, check in checks.items() if name in value)
    )


def _either(*values: str) -> Check:
    return lambda value: isinstance(value, str) and value in values


def _spec(value: Any) -> bool:
    return isinstance(value, dict) and _text(value.get("task")) and _text(value.get("method")) and _specified(value)


_specified = _fields(
    data=_text,
    backbone=_text,
    weights=_text,
    head=_text,
    lr=_number,
    weight_decay=_number,
    hyperparameters=_mapping(lambda value: True),
    protocol=_fields(name=_text, epochs=_count),
    seeds=_mapping(_count),
    until=_count,
    combine=_text,
)
_file = _fields(bytes=_count, sha256=lambda value: _text(value) and bool(_SHA256.fullmatch(value)))


def _files(value: Any) -> bool:
    """Names of files in the record's own directory."""
    plain = isinstance(value, dict) and all(_FILE.fullmatch(name) and name != "record.json" for name in value)
    return plain and all(_file(one) and {"bytes", "sha256"} <= one.keys() for one in value.values())


_FIELDS: dict[str, tuple[bool, Check]] = {
    "kind": (True, _either("trial", "run", "ensemble")),
    "status": (True, _either("finished", "failed", "stopped")),
    "spec": (True, _spec),
    "results": (True, _mapping(_mapping(_number))),
    "files": (True, _files),
    "error": (False, _maybe(_fields(kind=_text, message=_text, where=_list(_text)))),
    "study": (False, _fields(name=_text)),
    "task": (
        False,
        _fields(
            group=_text,
            classes=_list(_text),
            train_examples=_maybe(_count),
            untrained_classes=_list(_text),
            skipped=_mapping(_text),
        ),
    ),
    "curve": (False, _maybe(_list(_mapping(_number)))),
    "cost": (False, _maybe(_mapping(_number))),
    "parameters": (False, _maybe(_mapping(_number))),
    "environment": (False, _maybe(_mapping(lambda value: True))),
    "selected": (False, _fields(trial=_text, path=_text, val_accuracy=_number, trials=_count, failed=_count)),
    "members": (False, _list(_fields(method=_text, key=_text, accuracies=_mapping(_number)))),
}
