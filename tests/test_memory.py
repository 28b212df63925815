from __future__ import annotations

import platform
import subprocess
import sys
from dataclasses import replace

import pytest

import toy
from petl_study import execution, memory, places

GLIBC = platform.libc_ver()[0] == "glibc"


def test_the_peak_counts_from_where_it_was_restarted():
    held = bytearray(200_000_000)
    held[::4096] = b"1" * len(held[::4096])
    assert memory.peak() >= 200_000_000
    before = memory.peak()
    del held
    memory.restart_peak()
    assert memory.peak() < before - 150_000_000


PROGRAM = """
import resource
from petl_study import memory
{first}
for _ in range(20):
    b"1" * (48 * 2**20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


@pytest.mark.skipif(not GLIBC, reason="another C library keeps freed memory by rules of its own")
def test_what_is_freed_is_there_for_the_next_without_new_pages():
    def faults(first: str) -> int:
        found = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(first=first)], capture_output=True, text=True, check=True
        )
        return int(found.stdout)

    pages = 48 * 2**20 // 4096
    assert faults("pass") - faults("assert memory.keep_freed()") > 10 * pages


SCATTERED = """
from pathlib import Path
from petl_study import memory
{first}
blocks = [b"1" * (2 * 2**20) for _ in range(100)]
del blocks[::2]
print(int(Path("/proc/self/statm").read_text().split()[1]))
"""


@pytest.mark.skipif(not GLIBC, reason="another C library hands memory back by rules of its own")
def test_lean_hands_back_what_is_freed_between_what_is_not():
    def pages(first: str) -> int:
        program = SCATTERED.format(first=first)
        return int(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)

    freed, lean = 50 * 2 * 2**20 // 4096, pages("assert memory.keep_freed(False)")
    assert pages("assert memory.keep_freed()") - lean > 0.9 * freed
    assert pages("assert memory.keep_freed(False); assert memory.keep_freed()") - lean > 0.9 * freed  # the last counts


def test_a_record_says_that_memory_was_handed_back(tmp_path, monkeypatch):
    assert "lean" not in execution.execute(toy.trial("bitfit"), tmp_path / "a").header["environment"]
    monkeypatch.setattr(places, "_here", [replace(places.here(), lean=True)])
    assert execution.execute(toy.trial("bitfit"), tmp_path / "b").header["environment"]["lean"] is True


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert memory.keep_freed() is False
