"""What runs in the processes of a Ray cluster, one for every trial that the cluster has room for.

Ray is not imported here: the engine makes an actor of `Worker`, and calls its methods from elsewhere.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from petl_study import environment
from petl_study.devices import require_device
from petl_study.errors import InputError
from petl_study.places import Places
from petl_study.store import Record, Study
from petl_study.trials import Trial

Work = Callable[[Trial, Path, str], Record]
Prepared = tuple[str, dict[str, str]]  # the node's address, and the versions of what will compute there
SIGHT = ".driver"  # a file in the study's directory: who sees what the driver wrote there shares it with the driver
PATIENCE = 10.0  # seconds that storage shared by a network may take to show a new file


class Worker:
    """Runs trials one after the other, and so keeps backbones and tasks between them.

    For a study that it does not see it works in a directory of its own, whose files the driver brings and fetches.
    """

    def __init__(self) -> None:
        self._seen: set[tuple[Path, str]] = set()
        self._apart: tempfile.TemporaryDirectory[str] | None = None

    def prepare(self, threads: int, where: Places, device: str) -> Prepared:
        """Make ready for trials.

        Raises
        ------
        InputError
            There is no such device here.
        """
        environment.settle(where, threads)
        require_device(device)
        from ray.util import get_node_ip_address

        return get_node_ip_address(), environment.versions()

    def is_there(self) -> None:
        """To be asked before a trial is given, that a worker long gone is not taken for one that the trial ended."""

    def run(self, work: Work, trial: Trial, directory: Path, device: str, sight: str) -> Record:
        """Run `trial` of the study at `directory`, which this machine shares with the driver.

        Raises
        ------
        InputError
            It does not: there is no `SIGHT` there that says `sight`.
        """
        if (directory, sight) not in self._seen:
            _require_sight(directory, sight)
            self._seen.add((directory, sight))
        return work(trial, directory, device)

    def begin(self) -> None:
        """Have a new study to work in, in which there is nothing."""
        self.end()
        self._apart = tempfile.TemporaryDirectory(prefix="petl-study-")

    def bring(self, file: str, part: bytes) -> None:
        """Append `part` to a file, of which the path within the study is given."""
        path = self._study.path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as opened:
            opened.write(part)

    def run_apart(self, work: Work, trial: Trial, device: str) -> Record:
        """Run `trial` in this worker's own study."""
        return work(trial, self._study.path, device)

    def fetch(self, file: str, start: int, length: int) -> bytes:
        """So many bytes of a file, fewer at its end; no bytes of one that is not there."""
        path = self._study.path / file
        if not path.exists():
            return b""
        with path.open("rb") as opened:
            opened.seek(start)
            return opened.read(length)

    def end(self) -> None:
        """Remove this worker's own study."""
        if self._apart:
            self._apart.cleanup()
            self._apart = None

    @property
    def _study(self) -> Study:
        assert self._apart, "nothing was begun"
        return Study(Path(self._apart.name))


def _require_sight(directory: Path, sight: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            if (directory / SIGHT).read_text() == sight:
                return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise InputError(
                f"the study's directory {directory} is not seen there. Have all nodes mount the storage that it is on"
                " at the same path, or have results sent back with --results driver."
            )
        time.sleep(0.1)
