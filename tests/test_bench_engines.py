from __future__ import annotations

import json

import pytest

from petl_study.cli import main


def test_a_study_that_trains_nothing_is_measured_whole(tmp_path, capsys):
    file, place = tmp_path / "figures.json", tmp_path / "place"
    place.mkdir()
    options = ["--trials", "6", "--engines", "serial", "--directory", str(place), "--out", str(file)]
    assert main(["bench", "engines", *options]) == 0
    made = json.loads(file.read_text())
    assert [(row["engine"], row["stored"]) for row in made["rows"]] == [("serial", "in memory"), ("serial", "stored")]
    for row in made["rows"]:
        assert row["trials"] == 7  # and the final run
        assert 0 < row["seconds_each"] == pytest.approx(row["seconds"] / 7)
    assert list(place.iterdir()) == []
    assert "ms a trial" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--trials", "0"], "--trials must be a whole number of at least 1"),
        (["--trials", "1000000"], "--trials must be at most"),
        (["--engines", "serial,parallel"], "there is no engine 'parallel'; known: serial, processes, ray"),
    ],
)
def test_what_cannot_be_measured_is_refused(options, told, capsys):
    assert main(["bench", "engines", *options]) == 2
    assert told in capsys.readouterr().err
