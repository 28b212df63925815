"""One driver a study: the system's lock where there is one, and beside it a note of who drives that keeps changing.

    STUDY/.lock     locked with flock(2), which the system releases however its holder ends
    STUDY/.owner    JSON: host, machine, pid, token, and `beat`, a number that grows every few seconds

flock says at once that another process of this machine is there. Some network storage has no such locks, or only among
the processes of one machine, so the note decides across machines: whoever finds one looks whether its beat still grows,
by the time that passes here, as no two machines' clocks need agree and any may be set back. A note that stands still
was left by a driver that was killed, and is taken over.

The lock saves work; nothing that is stored hangs on it. Of two drivers that train one trial, as one of them was asleep
for so long that it was taken for dead, the first to write it makes the record, and the other keeps that.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from petl_study.errors import InputError
from petl_study.strangers import plain_json

BEAT = 5.0  # seconds between two beats
DEAD = 60.0  # seconds after which a note that stands still was left by a dead driver
SETTLE = 2.0  # seconds in which another driver that took over the same note at the same moment would show

_LOCK, _OWNER = ".lock", ".owner"
_HELD = (errno.EWOULDBLOCK, errno.EACCES)  # of flock; any other error says that the storage has no such locks
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Note:
    """Who drives a study."""

    host: str
    machine: str  # the same for processes that see each other's locks and numbers
    pid: int
    token: str
    beat: int = 0

    @classmethod
    def own(cls) -> _Note:
        try:  # a boot of a kernel, and what of it a container sees
            machine = Path("/proc/sys/kernel/random/boot_id").read_text() + str(Path("/proc/self/ns/pid").readlink())
        except OSError:
            machine = socket.gethostname()
        return cls(socket.gethostname(), machine, os.getpid(), secrets.token_hex(8))

    def write(self, descriptor: int) -> None:
        # Of one length, so that a beat overwrites all of the one before.
        os.pwrite(descriptor, f"{json.dumps(asdict(self)):<512}".encode(), 0)
        os.fsync(descriptor)


class Held:
    """A study's lock while it is held, with the thread whose beats show that its holder lives."""

    def __init__(self, study: Path, note: _Note, descriptor: int, beat: float) -> None:
        self._study, self._note, self._descriptor = study, note, descriptor
        self._lost, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._beat, args=(beat,), name="study lock", daemon=True)
        self._thread.start()

    def require(self) -> None:
        """Go on only as the study's one driver.

        Raises
        ------
        InputError
            Another took this one for dead, as it or its machine had stood still.
        """
        if self._lost.is_set():
            raise InputError(
                f"{self._study} was taken over by another driver, or moved, while this one stood still. What it has"
                " stored is kept, and the other goes on from there."
            )

    def release(self) -> None:
        """Take the note away, if it is still there."""
        self._over.set()
        self._thread.join()
        if self._is_own():
            (self._study / _OWNER).unlink(missing_ok=True)
        os.close(self._descriptor)

    def _beat(self, seconds: float) -> None:
        while not self._over.wait(seconds):
            if not self._is_own():
                self._lost.set()
                return
            self._note = replace(self._note, beat=self._note.beat + 1)
            with suppress(OSError):  # what is wrong with the storage shows where results are written
                self._note.write(self._descriptor)

    def _is_own(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._descriptor), (self._study / _OWNER).stat())
        except FileNotFoundError:
            return False
        except OSError:  # storage that does not answer has not said that it is another's
            return True


@contextmanager
def alone(study: Path, *, beat: float = BEAT, dead: float = DEAD, settle: float = SETTLE) -> Iterator[Held]:
    """Hold the lock of the study at `study`.

    Where a driver of another machine left a note, this watches it until it beats, or for `dead` seconds.

    Raises
    ------
    InputError
        Another process drives the study, or its directory cannot be written to.
    """
    try:
        file = (study / _LOCK).open("a")
    except OSError as error:
        raise _unwritable(study, error) from None
    with file:
        locked = _flock(file.fileno(), study)
        note = _Note.own()
        try:
            descriptor = _claim(study, note, locked, dead, settle)
        except OSError as error:
            raise _unwritable(study, error) from None
        held = Held(study, note, descriptor, beat)
        try:
            yield held
        finally:
            held.release()


def _flock(descriptor: int, study: Path) -> bool:
    """Take the system's lock; False where the storage has none."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            raise _refusal(study, _read(study)) from None
        return False
    return True


def _claim(study: Path, note: _Note, locked: bool, dead: float, settle: float) -> int:
    """Leave `note`, in the place of one that a dead driver left: its open descriptor."""
    path, took_over = study / _OWNER, False
    while True:
        with suppress(FileExistsError):
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
            break
        found = _read(study)
        # With the lock in hand, whoever held it on this machine is gone.
        if not (found and found.machine == note.machine and (locked or not _runs(found.pid))):
            _outwait(study, found, dead if found else settle)  # between a note's creation and its content is a moment
        took_over = True
        aside = path.with_name(f"{_OWNER}-{note.token}")
        with suppress(FileNotFoundError):  # another was quicker
            path.rename(aside)
            aside.unlink()
    note.write(descriptor)
    if took_over and not locked:
        time.sleep(settle)
    if not os.path.samestat(os.fstat(descriptor), path.stat()):
        os.close(descriptor)
        raise _refusal(study, _read(study))
    return descriptor


def _outwait(study: Path, found: _Note | None, dead: float) -> None:
    """Return once the note has stood still for `dead` seconds; raise as soon as it changes."""
    host = found.host if found else "another machine"
    _log.warning("%s was driven from %s: waiting up to %.0f s to see whether it still is", study, host, dead)
    until = time.monotonic() + dead
    while time.monotonic() < until:
        time.sleep(min(1.0, dead / 10))
        now = _read(study)
        if now != found:
            if now is None and not (study / _OWNER).exists():
                return  # it ended meanwhile
            raise _refusal(study, now)


def _read(study: Path) -> _Note | None:
    """The note in `study`; None where there is none, or one that is only being written."""
    try:
        return _Note(**plain_json.read(study / _OWNER, most=4096))
    except (OSError, ValueError, TypeError):
        return None


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _refusal(study: Path, note: _Note | None) -> InputError:
    by = f"another process (number {note.pid} on {note.host})" if note else "another process"
    return InputError(f"{study} is being run by {by}. Wait for it, or stop it; what it has stored is kept.")


def _unwritable(study: Path, error: OSError) -> InputError:
    return InputError(
        f"{study} cannot be written to: {error.strerror}. A study is run where its results can be stored; to read it,"
        " no lock is needed."
    )
