"""Tables of what there is: methods, tasks, backbones, protocols. And the page of one method.

A table imports nothing heavy (`catalogue`); a method's page applies the method.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from petl_study import catalogue
from petl_study.console import console


def methods() -> None:
    """Print every method with its size, whether it merges, what a search tries and where it comes from.

    What takes seconds, to look at a task or to import an optional package, is left to the method's page.
    """
    table = _table("method", "trains of ViT-B/16", "merges", "search space", "source")
    table.columns[1].justify = "right"
    known, failures = catalogue.methods_here()
    for one in known:
        size = "" if one.trains is None else f"{one.trains:,}"
        merges = {None: "", True: "yes", False: "no"}[one.merges]
        space = "; ".join(f"{key} {_set(values)}" for key, values in one.space.items())
        source = f"{one.paper} [from {one.package}]" if one.package else one.paper
        table.add_row(one.name, size, merges, Text(space or "learning rate and weight decay only"), Text(source))
    out = console()
    out.print(table)
    out.print("At the defaults; what is left open here, and more, tells `petl-study methods NAME`.", markup=False)
    for failure in failures:
        out.print(failure, style="red", markup=False)


def method(name: str) -> None:
    """Print what there is to know of one method before using it, all of it found in its code or by applying it."""
    from petl_study import methods
    from petl_study.methods import _facts, _plugins

    cls, at_defaults = methods.get(name), methods.create(name)
    count, size = _facts.trained(at_defaults)
    reason, moved = _facts.unmergeable(at_defaults), _facts.start(at_defaults)
    looks, package = _facts.looks_at_data(at_defaults), _plugins.origin(cls)
    facts = Table.grid(padding=(0, 3, 0, 0))
    facts.add_row("name", Text(name))
    facts.add_row("trains", f"{count:,} numbers of a ViT-B/16, {count / size:.2%} of its {size / 1e6:.1f} M")
    facts.add_row("merges", Text(f"no: {reason}" if reason else "yes, into the plain model: no cost when it is used"))
    facts.add_row("looks first", "yes, at training images of the task" if looks else "no, it needs no data to start")
    facts.add_row("starts", _start(moved))
    facts.add_row("paper", Text(cls.paper))
    facts.add_row("code", Text(f"{cls.__module__}, from {package}" if package else cls.__module__))
    points = math.prod(len(values) for values in methods.search_space(name).values())
    out = console()
    _print_text(out, _facts.docstring(cls).replace("``", "`"))
    out.print("With every hyperparameter at its default:")
    out.print(facts)
    if fields := dataclasses.fields(cls):
        out.print("")
        out.print(_hyperparameters(fields))
    plural = "s" if points > 1 else ""
    out.print(f"\nIts grid has {points} point{plural}, times those of learning rate and weight decay.", highlight=False)


def _print_text(out: Console, text: str) -> None:
    """Paragraphs as wide as there is room and comfort for; equations and tables as they stand."""
    for paragraph in text.split("\n\n"):
        if any(line.startswith((" ", "|")) for line in paragraph.splitlines()):
            out.print(paragraph, markup=False, highlight=False, soft_wrap=True)
        else:
            out.print(paragraph.replace("\n", " "), markup=False, highlight=False, width=min(out.width, 120))
        out.print("")


def _hyperparameters(fields: tuple[dataclasses.Field[Any], ...]) -> Table:
    table = _table("hyperparameter", "default", "allowed", "searched")
    for field in fields:
        values = field.metadata["search"]
        table.add_row(field.name, Text(_value(field.default)), _allowed(field), Text(_set(values) if values else "no"))
    return table


def _allowed(field: dataclasses.Field[Any]) -> str:
    low, high = field.metadata["bounds"]
    kinds = {bool: "True or False", str: "text", int: "a whole number", float: "a number"}
    kind = kinds.get(type(field.default), type(field.default).__name__)
    bounds = [f"at least {low:g}"] * (low > -math.inf) + [f"at most {high:g}"] * (high < math.inf)
    return ", ".join([kind, *bounds])


def _start(moved: float) -> str:
    """In words, where a method starts that moves the logits of a small ViT by the fraction `moved` of their size."""
    if moved < 1e-6:  # rounding
        return "at the pre-trained function"
    return f"off the pre-trained function: untrained, it moves the logits of a small random ViT by {moved:.1%}"


def tasks() -> None:
    """Print every task with its group, classes and shift sets."""
    known = catalogue.read()
    table = _table("task", "group", "classes", "shift sets", "what it is")
    for task in known.tasks:
        kinds = sorted({shift.partition(":")[0] for shift in task.shift_sets})
        severities = len(task.shift_sets) // len(kinds) if kinds else 0
        shifts = f"{', '.join(kinds)} x {severities}" if kinds else "none"
        table.add_row(task.name, task.group, str(task.classes), shifts, task.summary)
    out = console()
    out.print(table)
    out.print("\nOf images of your own, and of data sets that lie below --data:")
    found = _table("task", "what it is")
    for loader in known.loaders:
        found.add_row(loader.example, Text(loader.summary))
    out.print(found)
    out.print(
        "Each may be sampled (`shots: 16` of every class, or `examples: 1000` in all) and have further test sets"
        " (`shifts: {sketch: folder:sketch}`). `petl-study check TASK --data DIR` says what is wrong with the data.",
        markup=False,
        highlight=False,
    )


def protocols() -> None:
    """Print every protocol: what images go through, how long and how it trains, and where it comes from."""
    from petl_study.protocols import PROTOCOLS, Protocol

    table = _table("protocol", "images", "mean and std", "augmentation", "epochs", "batch", "drop path", "source")
    for name in PROTOCOLS:
        its = Protocol.model_validate(name)
        epochs, rates = f"{its.epochs}, {its.warmup_epochs} warm-up", PROTOCOLS[name].searched
        source = Text(f"{PROTOCOLS[name].source}{'; searched ' if rates else ''}{rates}")
        batch, drop_path = str(its.batch_size), f"{its.drop_path:g}"
        table.add_row(name, str(its.view), its.normalisation, its.augmentation, epochs, batch, drop_path, source)
    out = console()
    out.print(table)
    for name, recipe in PROTOCOLS.items():
        out.print(f"  {name}: {recipe.summary}", markup=False, highlight=False, soft_wrap=True)
    out.print(
        "\nOne of your own changes one of these: `protocol: {base: study, epochs: 20}`. Results under different"
        " protocols are never put together: `petl-study diff A B` says what differs. docs/protocols.md has the whole of"
        " each, and what of its source is not established.",
        markup=False,
        highlight=False,
    )


_ALSO = {"ViT": "ViT, CLIP, DINOv2"}  # of one family: what is called otherwise


def backbones() -> None:
    """Print every backbone with its size and the classes its own classifier knows, and which methods work on which.

    What works with an optional package is left to docs/families.md.
    """
    table = _table("backbone", "parameters", "image size", "own classes", "what it is")
    for one in catalogue.read().backbones:
        table.add_row(one.name, f"{one.parameters:,}", f"{one.image_size} px", str(one.classes), one.summary)
    out = console()
    out.print(table)
    known = {one.name: one.families for one in catalogue.methods_here()[0] if one.families is not None}
    out.print(f"\nMethods that work, of {len(known)}, at their defaults:")
    for family in dict.fromkeys(itertools.chain.from_iterable(known.values())):
        lacking = [name for name, families in known.items() if family not in families]
        told = f"all but {', '.join(lacking)}" if lacking else "all"
        out.print(f"  {_ALSO.get(family, family)}: {told}", markup=False, highlight=False, soft_wrap=True)
    out.print(
        "With other settings some work on more, and which merge: docs/families.md, in the column that is named before"
        " the colon, and `petl-study methods NAME`. Every other model of these families in timm is a backbone too, by"
        " its name (random:NAME without weights); NAME@FILE is one with the weights of a file (.npz, .pth, .bin,"
        " .safetensors), file:DIRECTORY one that `petl-study export` or `hf download` wrote, and clip:ViT-B-16/openai"
        " one of open_clip's, with a zero-shot classifier for any classes.",
        markup=False,
        highlight=False,
    )


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in ("method", "task", "backbone", "protocol"))
    return table


def _set(values: list[object]) -> str:
    return "{" + ", ".join(map(_value, values)) + "}"


def _value(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
