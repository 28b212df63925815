"""Check a study's files byte by byte, name what is not as it was written, and set it aside.

All of it is read: every record's checksum, the SHA-256 of every file, where it lies, the checkpoints of searches under
way. Exit code 0: all is as it was written. 1: something is not. With --repair that is moved to RUNS/quarantine, where
nothing reads it and nothing is lost; the next `petl-study run` makes only what is then missing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from petl_study.console import console
from petl_study.store import QUARANTINE, Finding, Record, Study, alone, examine, move_into

REASONS = "reasons.jsonl"  # in the quarantine, a line for everything that was moved there


@dataclass
class Examined:
    """What was found in a study, and where it was moved."""

    study: Path
    records: int = 0
    bytes: int = 0
    findings: list[Finding] = field(default_factory=list)
    moved: dict[Path, Path] = field(default_factory=dict)

    def content(self) -> dict[str, Any]:
        """For programs; paths below the study's."""
        return {
            "study": str(self.study),
            "records": self.records,
            "bytes": self.bytes,
            "findings": [
                {
                    "path": str(found.path.relative_to(self.study)),
                    "reason": found.reason,
                    "moved_to": self._moved_to(found),
                }
                for found in self.findings
            ],
        }

    def _moved_to(self, found: Finding) -> str | None:
        moved = self.moved.get(found.path)
        return str(moved.relative_to(self.study)) if moved else None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (__doc__ or "").replace("`", "")
    parser.add_argument("runs", metavar="RUNS", type=Path, help="the study's directory")
    parser.add_argument("--repair", action="store_true", help="move what is not as it was written to RUNS/quarantine")
    parser.add_argument("--json", action="store_true", help="for programs")


def run(options: argparse.Namespace) -> int:
    """``petl-study fsck``. Returns the exit code: 0 for a study in which all is as it was written, otherwise 1."""
    study = Study.open(options.runs)
    if options.repair:
        with alone(study.path):  # what a driver is writing is not set aside
            found = check(study)
            found.moved = repair(study, found.findings)
    else:
        found = check(study)
    if options.json:
        print(json.dumps(found.content(), indent=1, ensure_ascii=False))  # noqa: T201
    else:
        show(found)
    return 1 if found.findings else 0


def check(study: Study) -> Examined:
    """Read all of `study`."""
    made = Examined(study.path)
    for each in examine(study):
        if isinstance(each, Record):
            made.records += 1
            made.bytes += sum(written["bytes"] for written in each.header["files"].values())
        else:
            made.findings.append(each)
    made.findings += _checkpoints(study)
    return made


def repair(study: Study, findings: list[Finding]) -> dict[Path, Path]:
    """Move what was found into the study's quarantine; where to, by where it lay."""
    moved = {}
    for found in findings:
        if found.movable:
            below = found.path.relative_to(study.path)
            moved[found.path] = move_into(study.path / QUARANTINE, below, found.path)
            line = {"path": str(below), "reason": found.reason, "moved_to": moved[found.path].name}
            with (study.path / QUARANTINE / REASONS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return moved


def show(found: Examined) -> None:
    """Print what was found."""
    out = console()

    def line(text: str, style: str = "") -> None:
        out.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    for each in found.findings:
        line(f"{each.path}: {each.reason}", "red")
        if each.path in found.moved:
            line(f"  moved to {found.moved[each.path]}")
    line(f"{found.records:,} records with {found.bytes / 1e6:,.1f} MB beside them are as they were written.")
    if found.moved:
        line(
            f"{len(found.moved)} moved. `petl-study run` with the study's file and `--out {found.study}` makes anew"
            " what is missing now, and nothing else."
        )
    elif any(each.movable for each in found.findings):
        line(f"{len(found.findings)} found. `petl-study fsck {found.study} --repair` moves them to {QUARANTINE}/.")
    for each in found.findings:
        if not each.movable:
            line(f"{each.path} cannot be made anew: copy it back.", "red")


def _checkpoints(study: Study) -> Iterator[Finding]:
    """Checkpoints that no training could go on from. It would train from the start, so nothing hangs on them."""
    for path in sorted((study.path / "checkpoints").rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        if path.is_symlink() or path.suffix != ".safetensors" or path.name.startswith("."):
            yield Finding(path, "only checkpoints belong here")
            continue
        from petl_study import checkpoint  # torch, which only searches under way need

        if checkpoint.load(path) is None:
            yield Finding(path, "it is a checkpoint whose bytes are not those that were written")
