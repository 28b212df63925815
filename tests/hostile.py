"""What other people's files may be: real ones, and ways to change them that keep their structure or do not."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from petl_study import store

Bytes = st.SearchStrategy[bytes]

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.sampled_from(["", "..", "/etc/passwd", "../../x", "=1+1", "<b>", "\x1b[2J", "nan", "finished", "val", "1e999"]),
)
VALUES = st.recursive(
    SCALARS, lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(max_size=8), below, max_size=4)
)


@st.composite
def changed_json(draw: st.DrawFn, content: Any) -> Any:
    """`content` with one to three values replaced, removed, renamed, repeated or nested, wherever they are."""
    content = json.loads(json.dumps(content))
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(content))
        if not places:
            break
        holder, key = draw(st.sampled_from(places))
        match draw(st.sampled_from(["replace", "remove", "rename", "repeat", "nest"])):
            case "replace":
                holder[key] = draw(VALUES)
            case "remove":
                del holder[key]
            case "rename" if isinstance(holder, dict):
                holder[draw(st.text(max_size=8))] = holder.pop(key)
            case "repeat" if isinstance(holder, list):
                holder.extend([holder[key]] * draw(st.integers(1, 50)))
            case _:
                holder[key] = draw(st.sampled_from([[holder[key]], {"x": holder[key]}]))
    return content


def _places(content: Any) -> Any:
    """Every (holder, key) in `content`."""
    keys = content.keys() if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ()
    for key in list(keys):
        yield content, key
        yield from _places(content[key])


@st.composite
def changed_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """`content` with bytes flipped, cut out, repeated, swapped for numbers that matter, or cut off."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        if not data:
            break
        at = draw(st.integers(0, len(data) - 1))
        match draw(st.sampled_from(["flip", "number", "cut", "insert", "end", "repeat"])):
            case "flip":
                data[at] ^= draw(st.integers(1, 255))
            case "number":
                number = draw(st.sampled_from([0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**32 - 1, 2**63 - 1]))
                form = draw(st.sampled_from(["<B", ">H", "<H", ">I", "<I", ">Q", "<Q"]))
                data[at : at + struct.calcsize(form)] = (number % 256 ** struct.calcsize(form)).to_bytes(
                    struct.calcsize(form), "little" if form[0] == "<" else "big"
                )
            case "cut":
                del data[at : at + draw(st.integers(1, 64))]
            case "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=32))
            case "end":
                del data[at:]
            case _:
                data[at:at] = data[at : at + draw(st.integers(1, 64))] * draw(st.integers(1, 20))
    return bytes(data)


@st.composite
def changed_text(draw: st.DrawFn, content: str) -> str:
    """`content` with lines dropped, doubled, or with pieces that mean something put in."""
    lines = content.split("\n")
    pieces = [
        "&a",
        "*a",
        "<<: *a",
        "!!python/object:os.system",
        "[" * 40,
        "{",
        "}",
        ": ",
        "- ",
        "\t",
        "..",
        "/",
        "1e999",
    ]
    pieces += ["'", '"', "\0", "\ufeff", "999999999999", "-1", " 0", "0x", "2001-13-45", "1:2:3", "~", "!!set", "%YAML"]
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["drop", "double", "put", "text"])):
            case "drop" if len(lines) > 1:
                del lines[at]
            case "double":
                lines.insert(at, lines[at])
            case "put":
                where = draw(st.integers(0, len(lines[at])))
                lines[at] = lines[at][:where] + draw(st.sampled_from(pieces)) + lines[at][where:]
            case _:
                lines[at] = draw(st.text(max_size=30))
    return "\n".join(lines)


def safetensors_of(header: Any, body: bytes, claimed: int | None = None) -> bytes:
    """A safetensors file with this header, which may claim a length of its own."""
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    return struct.pack("<Q", len(text) if claimed is None else claimed) + text + body


def header_of(content: bytes) -> tuple[Any, bytes]:
    """The header and the tensors' bytes of a safetensors file."""
    [length] = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def reseal(directory: Path, change: Callable[[dict[str, Any]], Any] = lambda header: header) -> None:
    """Make the record at `directory` an intact one again: its maker knows how to compute checksums, too."""
    header = json.loads((directory / "record.json").read_bytes())
    for file in directory.iterdir():
        if file.name != "record.json":
            content = file.read_bytes()
            header["files"][file.name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    write_sealed(directory / "record.json", change(header))


def write_sealed(file: Path, content: Any) -> None:
    """Write `content` with the checksum that belongs to it, where JSON has what it is made of."""
    sealed = store.seal(content) if isinstance(content, dict) else content
    file.write_text(json.dumps(sealed, ensure_ascii=False), "utf-8", errors="surrogatepass")
