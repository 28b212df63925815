from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from petl_study import memory

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


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert memory.keep_freed() is False
