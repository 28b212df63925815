"""YAML that other people wrote: data alone, no tags, and no larger than it looks.

An alias stands for all that its anchor has, and may stand in another anchor: ten lines can say a billion times "lol".
Nodes are counted with that before anything is made of them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

MOST_BYTES = 256 * 2**10  # of a study file; PyYAML reads some hundred kilobytes a second
DEEPEST = 50  # lists and mappings in each other
MOST_NODES = 100_000  # of names, values, lists and mappings, aliases written out


class NoYaml(ValueError):
    """What is no plain YAML, or more of it than is read; the message says why, without the file's name."""


class _Loader(yaml.SafeLoader):
    """Safe YAML in which ``1e-3`` is a number: YAML 1.1, which PyYAML reads, wants ``1.0e-3`` and makes text of it."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
)


def read(path: Path) -> Any:
    """The content of the file at `path`.

    Raises
    ------
    NoYaml
        It is larger than any study file, no UTF-8, or what `parse` refuses.
    OSError
        It cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise NoYaml(f"it is larger than {MOST_BYTES:,} bytes")
    try:
        return parse(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise NoYaml(f"it cannot be read as text, which is UTF-8 ({error.reason} at byte {error.start})") from None


def parse(text: str) -> Any:
    """The content of one document of YAML.

    Raises
    ------
    NoYaml
        It is no YAML, has tags, is nested too deeply, or has too many nodes.
    """
    try:
        _look_over(text)
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _count(node, {})
        return loader.construct_document(node)
    except RecursionError:
        raise NoYaml("it is nested too deeply") from None
    except (yaml.YAMLError, ValueError, TypeError, OverflowError) as error:  # of dates, and of numbers too long
        raise NoYaml(str(error)) from None


def _look_over(text: str) -> None:
    """Refuse tags and deep nesting, as soon as they come: PyYAML takes minutes over thousands of open brackets."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise NoYaml("it is nested too deeply")
        if tag := getattr(event, "tag", None):
            line = event.start_mark.line + 1 if event.start_mark else 0
            raise NoYaml(f"line {line} has the tag {tag!r}: a study file is plain text, numbers, lists and mappings")


def _count(node: yaml.Node, known: dict[int, int]) -> int:
    """Nodes below and including `node`, aliases written out."""
    if id(node) in known:
        if not (count := known[id(node)]):
            raise NoYaml("an alias stands for what it lies in")
        return count
    known[id(node)] = 0  # while it is being counted
    below = node.value if isinstance(node, yaml.SequenceNode) else ()
    if isinstance(node, yaml.MappingNode):
        below = [one for pair in node.value for one in pair]
    count = 1 + sum(_count(one, known) for one in below)
    if count > MOST_NODES:
        raise NoYaml(f"it has more than {MOST_NODES:,} values, aliases written out")
    known[id(node)] = count
    return count
