"""What is killed while it writes leaves no half of anything in sight, and what is done again is whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import crashes
import records
from petl_study.store import key_of

OLD = {key_of(records.spec(number)) for number in crashes.BEFORE}
STOPPED, NEW = key_of(records.spec(crashes.NEW, until=2)), key_of(records.spec(crashes.NEW))
A_FEW, MANY = 8, 100
WITH_TESTS = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
EVERY = [pytest.param(name, A_FEW) for name in crashes.WORKS]
EVERY += [pytest.param(name, MANY, marks=pytest.mark.slow) for name in crashes.WORKS]


def kill(name: str, kills: int, directory: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What was found after every kill, before and after the work was done again; and what is found without any."""
    command = [sys.executable, crashes.__file__, name, str(kills), str(kills), str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=WITH_TESTS)
    assert done.returncode == 0, done.stderr
    *told, undisturbed = json.loads(done.stdout)
    assert sum(each["killed"] for each in told) > 0.8 * kills
    return told, undisturbed["again"]


@pytest.mark.parametrize(("name", "kills"), EVERY)
def test_whoever_is_killed_leaves_a_study_that_can_be_read_and_gone_on_with(name, kills, tmp_path):
    told, undisturbed = kill(name, kills, tmp_path)
    states = set()
    for each in told:
        after = each["after"]
        assert each["again"] == undisturbed
        assert each["again"]["left"] == 0
        assert all("its bytes are not" in reason or "bytes of" in reason for reason in after["wrong"])
        assert name == "repair" or not after["wrong"]
        if name != "repair":
            assert set(after["keys"]) >= OLD
            assert {STOPPED, NEW} & set(after["keys"])  # of what is replaced, the old or the new is there
        assert len(after["keys"]) + len(after["wrong"]) + len(after["quarantined"]) >= len(OLD) + 1  # nothing is lost
        assert after["checkpoints"] in (["first"], ["second"], [])
        assert after["merged"] in (None, undisturbed["merged"])
        states.add(json.dumps(after))
    assert len(states) > 1 or kills == A_FEW  # they were not all killed at one moment
