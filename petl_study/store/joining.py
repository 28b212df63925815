"""Records of several studies as those of one: the same result once, what conflicts named."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from petl_study.store.index import Entry
from petl_study.store.record import KINDS, Record
from petl_study.store.study import Study, furthest
from petl_study.store.text import fingerprint

# Of a run, what its search chose; the rest of its specification is what was asked of it.
_CHOSEN = ("hyperparameters", "lr", "weight_decay")


def union(studies: Sequence[Study]) -> tuple[list[Entry], list[str]]:
    """The records that `studies` have together, and what keeps them from being one study's, a line a conflict.

    Of a result that several have, the first one's record; of a trial that was stopped and elsewhere trained on, what
    went furthest.

    Raises
    ------
    DamagedRecord
        A record of one of them is not as it was written.
    """
    kept: list[Entry] = []
    conflicts: list[str] = []
    for kind in KINDS:
        by_key: dict[str, list[Entry]] = defaultdict(list)
        for study in studies:
            for entry in study.entries(kind):
                by_key[entry.key].append(entry)
        for same in by_key.values():
            first = same[0].open()
            differing = [(other, _differ(first, other.open())) for other in same[1:]]
            conflicts += [_line(first, other, what) for other, what in differing if what]
        kept += [same[0] for same in by_key.values()]
    conflicts += _of_one_trial([entry for entry in kept if entry.kind == "trial"])
    conflicts += _of_one_seed([entry for entry in kept if entry.kind == "run"])
    return furthest(kept), conflicts


def _differ(one: Record, other: Record) -> str:
    """What of two records of one specification differs that should not; versions, machines and seconds may."""
    for name in ("kind", "spec", "status", "error", "results"):
        if one.header.get(name) != other.header.get(name):
            return name
    if one.header["files"].keys() != other.header["files"].keys():
        return "files"
    if one.header["files"] == other.header["files"]:
        return ""
    # What is the same in another version of Parquet's or safetensors' writer is compared as it is read.
    for name in one.sets:
        if not all(map(np.array_equal, one.examples(name), other.examples(name))):
            return f"the examples of {name!r}"
        if not _same_bits(one.logits(name), other.logits(name)):
            return f"the logits of {name!r}"
    if "tuned.safetensors" in one.header["files"]:
        tensors, others = one.tensors(), other.tensors()
        if tensors.keys() != others.keys() or not all(_same_bits(tensors[name], others[name]) for name in tensors):
            return "the tuned tensors"
    return ""


def _same_bits(one: np.ndarray, other: np.ndarray) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def _of_one_trial(trials: list[Entry]) -> Iterator[str]:
    """Trials stopped at different epochs of which one is not the beginning of the other."""
    by_trial: dict[str, list[Entry]] = defaultdict(list)
    for entry in trials:
        by_trial[entry.whole].append(entry)
    for same in by_trial.values():
        further, *shorter = sorted(same, key=lambda entry: (entry.stopped, -entry.epochs))
        for other in shorter:
            curves = [entry.open().header.get("curve") or [] for entry in (further, other)]
            if curves[0][: len(curves[1])] != curves[1]:
                yield _line(further.open(), other, f"the first {len(curves[1])} epochs")


def _of_one_seed(runs: list[Entry]) -> Iterator[str]:
    """Final runs that stand for the same, of which two searches chose different ones."""
    by_question: dict[str, Entry] = {}
    for entry in runs:
        record = entry.open()
        asked = fingerprint({name: value for name, value in record.spec.items() if name not in _CHOSEN})
        other = by_question.setdefault(asked, entry)
        if other.study != entry.study:
            yield _line(other.open(), entry, f"what the search chose ({', '.join(_CHOSEN)})")


def _line(one: Record, other: Entry, what: str) -> str:
    return f"{one.path} and {other.path}: {what}"
