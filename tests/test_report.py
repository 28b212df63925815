from __future__ import annotations

import argparse
import base64
import csv
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import analysis
import studies
from petl_study import report
from petl_study.errors import InputError
from petl_study.report.evidence import RULES
from petl_study.report.tables import csv_safe
from studies import FAILED, GROUPS, METHODS, write_study

NASTY = "=<script>alert('$1')</script>&amp;"


class Page(HTMLParser):
    """Tables as lists of rows of text, ids, and whatever a browser would fetch."""

    def __init__(self, text: str):
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.ids: list[str] = []
        self.links: list[str] = []
        self.scripts = 0
        self._table = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given[name] for name in ("src", "href", "action", "data", "poster") if name in given]
        self.scripts += tag == "script"
        if tag == "table":
            self._table = given["id"]
            self.tables[self._table] = []
        elif tag == "tr":
            self.tables[self._table].append([])
        elif tag in ("td", "th"):
            self.tables[self._table][-1].append("")

    def handle_data(self, data):
        if self._table and self.tables[self._table] and self.tables[self._table][-1]:
            self.tables[self._table][-1][-1] += data.strip() + " "

    def handle_endtag(self, tag):
        self._table = "" if tag == "table" else self._table


@pytest.fixture(scope="module", autouse=True)
def coarse_pictures():
    """PNG files large enough to be files: most of a report's time goes into their pixels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "DPI", 40)
        yield


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    return write_study(tmp_path_factory.mktemp("report") / "study", examples=80)


@pytest.fixture(scope="module")
def out(study) -> Path:
    return report.build(study, study.parent / "out").parent


@pytest.fixture(scope="module")
def page(out) -> Page:
    return Page((out / "report.html").read_text("utf-8"))


def test_the_page_fetches_nothing(out, page):
    assert all(link.startswith(("data:image/svg+xml;base64,", "#")) for link in page.links)
    text = (out / "report.html").read_text("utf-8")
    assert "default-src 'none'" in text
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org)", re.sub(r"base64,[^\"]*", "", text))
    for link in page.links:
        if link.startswith("data:"):
            assert base64.b64decode(link.partition(",")[2]).startswith(b"<?xml")


def test_every_link_inside_the_page_has_its_place(page):
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_the_accuracy_table_has_every_method_and_task_best_on_top(study, page):
    _, headings, *rows = page.tables["table-accuracy"]
    tasks = sorted(GROUPS, key=lambda task: (GROUPS[task], task))
    assert [heading.strip() for heading in headings][:5] == ["method", *tasks]
    assert {row[0].strip() for row in rows} == set(METHODS)
    accuracy = analysis.accuracy_table(analysis.load_runs(study)).set_index(["method", "task"])["accuracy"]
    for row in rows:
        for task, cell in zip(tasks, row[1:], strict=False):
            assert cell.split()[0] == f"{100 * accuracy[row[0].strip(), task]:.1f}"
    means = [float(row[5].split()[0]) for row in rows]
    assert means == sorted(means, reverse=True)


def test_failures_and_conditions_are_shown(out, page):
    assert len(page.tables["table-failures"]) == 3
    assert "nan in epoch 3" in page.tables["table-failures"][1][-1]
    text = (out / "report.html").read_text("utf-8")
    assert "Failed: 1 of the search trials, 1 of the runs" in text
    for fingerprint in analysis.load_runs(out.parent / "study")[["protocol_fingerprint", "weights"]].iloc[0]:
        assert fingerprint in text


def test_figures_are_there_as_png_and_svg(out):
    names = {path.stem for path in (out / "figures").iterdir()}
    assert names == {
        "accuracy_against_parameters",
        "accuracy_by_shift",
        "accuracy_by_task",
        "accuracy_under_shift",
        "disagreement",
        "ensemble_gain",
        "mean_rank",
    }
    for name in names:
        assert (out / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert b"<svg" in (out / "figures" / f"{name}.svg").read_bytes()


def test_tables_hold_the_raw_numbers(study, out):
    runs = pd.read_csv(out / "tables" / "runs.csv")
    assert runs["test_accuracy"].tolist() == analysis.load_runs(study)["test_accuracy"].tolist()
    gains = pd.read_csv(out / "tables" / "ensemble_gain.csv")
    assert set(gains["combine"]) == set(RULES)
    assert len(gains) == len(GROUPS) * len(RULES) * 3
    trials = pd.read_csv(out / "tables" / "trials.csv")
    assert len(trials) == len(analysis.load_trials(study))


def test_the_study_itself_is_the_place_by_default(tmp_path, capsys):
    path = write_study(tmp_path / "study", tasks=("count", "textures"), methods=("lora",), seeds=(0,), failed=None)
    parser = argparse.ArgumentParser()
    report.add_arguments(parser)
    assert report.run(parser.parse_args([str(path)])) == 0
    assert capsys.readouterr().out.strip() == f"report: {path / 'report.html'}"
    written = (path / "report.html").read_bytes()
    assert report.build(path).read_bytes() == written  # again: the same page
    page = Page(written.decode())
    assert "table-disagreement" not in page.tables  # one run a task: nothing to compare
    assert len(analysis.load_runs(path)) == 2  # and the study reads as before


def test_names_from_records_are_text_everywhere(tmp_path, monkeypatch):
    for table in (studies.METHODS, studies.SKILL):
        monkeypatch.setitem(table, NASTY, 2)
    path = write_study(tmp_path / "study", tasks=("count",), methods=(NASTY, "lora"), seeds=(0,), failed=None)
    page = Page(report.build(path).read_text("utf-8"))
    assert page.scripts == 1
    assert NASTY in [row[0].strip() for row in page.tables["table-accuracy"]]
    with (path / "tables" / "accuracy.csv").open(newline="") as file:
        assert f"'{NASTY}" in [row["method"] for row in csv.DictReader(file)]


def test_csv_marks_what_a_spreadsheet_would_run_and_leaves_numbers_alone():
    frame = pd.DataFrame({"name": ["=1+1", "+a", "-b", "@c", "d"], "number": [-1.5, 2, np.nan, 0, 1], "dict": [{}] * 5})
    safe = csv_safe(frame)
    assert safe["name"].tolist() == ["'=1+1", "'+a", "'-b", "'@c", "d"]
    pd.testing.assert_series_equal(safe["number"], frame["number"])
    assert safe["dict"].tolist() == ["{}"] * 5


def test_an_unfinished_study_says_what_is_missing_and_ranks_only_what_is_complete(tmp_path):
    path = write_study(tmp_path / "study", tasks=("count", "textures"), seeds=(0,), failed=None)
    [directory] = (path / "runs" / "count" / "ssf").iterdir()
    directory.rename(tmp_path / "away")
    text = report.build(path).read_text("utf-8")
    assert "Runs still missing: ssf on count, seed 0." in text
    assert "every task; not among them: ssf." in text
    rows = {row[0].strip(): row for row in Page(text).tables["table-accuracy"]}
    assert rows["ssf"][-1].strip() == "–"
    assert rows["lora"][-1].strip() != "–"


def test_uneven_shift_sets_are_named_and_stop_nothing(tmp_path, monkeypatch):
    common = {"seeds": (0,), "failed": None, "examples": 60}
    path = write_study(tmp_path / "study", tasks=("digits", "letters"), methods=("lora",), **common)
    write_study(path / "more", tasks=("letters",), methods=("ssf",), **common)
    monkeypatch.setattr(studies, "KINDS", ("noise", "blur"))  # and none of polarity
    write_study(path / "fewer", tasks=("digits",), methods=("ssf",), **common)
    for task, part in (("letters", "more"), ("digits", "fewer")):
        (path / part / "runs" / task / "ssf").rename(path / "runs" / task / "ssf")
    text = report.build(path).read_text("utf-8")
    lacks = "method ssf, seed 0: polarity:1, polarity:2, polarity:3. Measure it there"
    assert "Without a mean over the kinds of shift: task &#39;digits&#39;: 1 of 2 rows have no accuracy" in text
    assert lacks in text
    means = pd.read_csv(path / "tables" / "mean_over_shifts.csv")
    assert set(means["task"]) == {"letters"}  # the other task is there as it was
    assert (path / "figures" / "accuracy_under_shift.png").is_file()
    shifts = pd.read_csv(path / "tables" / "shift.csv")
    assert {"polarity"} == set(shifts.query("task == 'digits'")["kind"]) - set(
        shifts.query("task == 'digits' and method == 'ssf'")["kind"]
    )


def test_without_any_mean_over_shifts_the_rest_is_there(tmp_path, monkeypatch):
    common = {"tasks": ("digits",), "seeds": (0,), "failed": None, "examples": 60}
    path = write_study(tmp_path / "study", methods=("lora",), **common)
    monkeypatch.setattr(studies, "KINDS", ("noise",))
    write_study(path / "fewer", methods=("ssf",), **common)
    (path / "fewer" / "runs" / "digits" / "ssf").rename(path / "runs" / "digits" / "ssf")
    page = Page(report.build(path).read_text("utf-8"))
    assert "table-shifts" in page.tables
    assert not (path / "figures" / "accuracy_under_shift.png").exists()
    assert (path / "figures" / "accuracy_by_shift.png").is_file()


def test_disagreement_and_overlap_have_their_intervals(study, page, out):
    table = pd.read_csv(out / "tables" / "disagreement.csv")
    assert (table["disagreement_low"] < table["disagreement"]).all()
    assert set(table["interval"]) == {"bootstrap over examples"}
    [row] = table.query("task == 'digits' and method_a == 'lora' and method_b == 'ssf'").to_dict("records")
    [shown] = [
        r for r in page.tables["table-disagreement"] if [cell.strip() for cell in r[:3]] == ["digits", "lora", "ssf"]
    ]
    assert shown[3].split() == [
        f"{100 * row['disagreement']:.1f}",
        f"[{100 * row['disagreement_low']:.1f},",
        f"{100 * row['disagreement_high']:.1f}]",
    ]
    overlap = pd.read_csv(out / "tables" / "confidence_overlap.csv")
    preds = analysis.load_predictions(study, "digits")
    expected = analysis.confidence_overlap_by_method(preds).set_index(["method_a", "method_b"])["correct_jaccard"]
    found = overlap[overlap["task"] == "digits"].set_index(["method_a", "method_b"])["correct_jaccard"]
    assert found["lora", "ssf"] == pytest.approx(expected["lora", "ssf"])
    assert len(page.tables["table-confidence_overlap"]) == 1 + len(overlap[overlap["method_a"] <= overlap["method_b"]])


def test_only_failures_still_make_a_report(tmp_path):
    path = write_study(tmp_path / "study", tasks=("count",), methods=("full",), seeds=(1,))
    assert FAILED == ("count", "full", 1)
    page = Page(report.build(path).read_text("utf-8"))
    assert len(page.tables["table-failures"]) == 3
    assert "table-accuracy" not in page.tables


def test_a_study_without_results_is_refused(tmp_path):
    with pytest.raises(InputError, match="no finished run yet"):
        report.build(write_study(tmp_path / "study", tasks=()))
    with pytest.raises(InputError, match="is no study"):
        report.build(tmp_path / "nowhere")


def test_two_protocols_in_one_study_are_refused(tmp_path):
    path = write_study(tmp_path / "study", tasks=("count",), methods=("lora",), failed=None)
    other = write_study(tmp_path / "b", tasks=("digits",), methods=("lora",), failed=None, protocol={"name": "long"})
    (other / "runs" / "digits").rename(path / "runs" / "digits")
    with pytest.raises(InputError, match="different protocol are not averaged"):
        report.build(path)
    assert not (path / "report.html").exists()


def test_a_place_that_cannot_be_written_to_is_refused(tmp_path):
    study = write_study(tmp_path / "study", tasks=("count",), methods=("lora",), seeds=(0,), failed=None)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written under .* Choose another place with --out"):
        report.build(study, tmp_path / "file")
