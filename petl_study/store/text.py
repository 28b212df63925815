"""What a record's header is as text: canonical JSON, its fingerprint, names of directories."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote


def canonical(value: object) -> bytes:
    """`value` as JSON that is the same bytes for the same content: keys sorted, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def fingerprint(value: object) -> str:
    """SHA-256 of `value`'s canonical JSON, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical(value)).hexdigest()


def key_of(spec: Mapping[str, Any]) -> str:
    """The directory name of the result that `spec` determines: 16 hexadecimal digits."""
    return fingerprint(spec)[:16]


def finite(value: float) -> float | None:
    """JSON has no NaN or infinity; such a number is stored as null."""
    return value if math.isfinite(value) else None


def seal(header: Mapping[str, Any]) -> dict[str, Any]:
    """`header` with the checksum of its own content."""
    content = {name: value for name, value in header.items() if name != "checksum"}
    return {**content, "checksum": fingerprint(content)}


def safe_name(name: str) -> str:
    """`name` as one reversible path component: ``peft:dora`` becomes ``peft%3Adora``; no name leaves its directory."""
    return quote(name, safe="").replace(".", "%2E")
