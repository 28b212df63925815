from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest

import analysis
from petl_study import cli
from petl_study.recommend import merges
from studies import write_study


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("recommend") / "study", failed=None)


@pytest.fixture
def ask(path, capsys):
    def call(*arguments: object, runs: object = path) -> tuple[int, str, str]:
        code = cli.main(["recommend", str(runs), *map(str, arguments)])
        told = capsys.readouterr()
        return code, told.out, told.err

    return call


def test_people_get_a_verdict_the_evidence_and_what_to_beware_of(ask):
    code, out, err = ask()
    assert (code, err) == (0, "")
    verdict, *rest = out.splitlines()
    assert "candidates are not told apart from the best (full) on 4 tasks" in verdict
    assert any(line.startswith("Tasks: count, digits, letters, textures.") for line in rest)
    shown = [line.split() for line in rest if re.match(r"[1-5]  ", line)]
    assert [words[1] for words in shown][-1] == "linear"
    assert {words[1] for words in shown} == {"linear", "full", "bitfit", "lora", "ssf"}
    assert "12,000" in out
    assert "* Not told apart is not equal" in out


def test_programs_get_what_the_analysis_says(ask, path):
    _, out, _ = ask("--json", "--seed", 3, "--level", 0.9)
    told = json.loads(out)
    made = analysis.recommend(
        analysis.load_runs(path),
        accuracies=analysis.load_accuracies(path),
        rng=np.random.default_rng(3),
        level=0.9,
    )
    assert told["verdict"] == made.verdict
    assert told["tasks"] == list(made.tasks)
    candidates = pd.DataFrame(told["candidates"])
    assert candidates["method"].tolist() == made.candidates["method"].tolist()
    for column in ("mean_rank", "rank_low", "accuracy_high", "behind", "front_probability", "retention"):
        assert candidates[column].astype(float).to_numpy() == pytest.approx(
            made.candidates[column].to_numpy(dtype=float), nan_ok=True
        )
    assert told["candidates"][0]["merges"] is None  # nobody asked


def test_every_option_reaches_the_needs(ask):
    options = [
        "--examples",
        "1,000",
        "--tasks",
        "digits,letters",
        "--memory",
        401,
        "--storage",
        3,
        "--parameters",
        11_000,
    ]
    code, out, _ = ask(*options, "--robust", "--merge", "--cost", "bytes", "--json")
    told = json.loads(out)
    assert code == 0
    assert told["needs"] == {
        "examples": 1000,
        "gap": None,
        "tasks": ["digits", "letters"],
        "memory_bytes": 401e6,
        "stored_bytes": 3e6,
        "parameters": 11_000,
        "robust": True,
        "merge": True,
        "cost": "bytes",
    }
    assert {row["method"]: row["need"] for row in told["excluded"]} == {"full": "storage", "lora": "parameters"}
    assert all(row["merges"] for row in told["candidates"])
    assert "tried on a small ViT" in told["notes"][-1]


def test_who_was_left_out_is_told_with_the_reason(ask):
    _, out, _ = ask("--parameters", 11_000)
    assert "Left out (parameters): full: 900,000 tuned parameters; lora: 12,000 tuned parameters" in out


def test_many_examples_are_answered_by_published_evidence_apart(ask):
    _, out, _ = ask("--examples", "many", "--gap", "near")
    assert out.startswith("No run here learned from about as many examples as asked for (many)")
    assert "Published, not ranked with these: vit_b16_in21k, published: many-shot, one seed" in out
    assert re.search(r"cifar100_full +ssf +50,000 +205,824 +\d\d\.\d \[", out)
    assert "Published" not in ask("--examples", "few")[1]


def test_the_published_study_can_be_asked(ask):
    code, out, _ = ask("--gap", "near", runs="published")
    assert code == 0
    assert "vit_b16_in21k" in out
    assert "7 tasks" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--parameters", -1], "parameters must be at least 0; got -1"),
        (["--examples", "lots"], "--examples must be few, many or a whole number such as 1000; got 'lots'"),
        (["--gap", "distant"], "this study holds no task of distant"),
        (["--gap", "near", "--tasks", "digits"], "not both"),
        (["--tasks", "digit"], "unknown task 'digit'; known: count, digits, letters, textures. Did you mean 'digits'?"),
        (["--gap", "far", "--robust"], "no run was tried under shift on count, textures"),
        (["--memory", 1], "To ask for at most 1 MB of peak memory leaves out 5: bitfit (400.004 MB of peak memory)"),
        (["--level", 2], "level must be between 0 and 1"),
    ],
)
def test_needs_that_cannot_be_met_are_one_message_and_code_2(ask, options, message):
    code, out, err = ask(*options)
    assert (code, out) == (2, "")
    assert message in err


def test_no_study_and_an_empty_one_are_refused(ask, tmp_path):
    code, _, err = ask(runs=tmp_path / "nowhere")
    assert code == 2
    assert "is no study" in err
    code, _, err = ask(runs=write_study(tmp_path / "empty", tasks=()))
    assert code == 2
    assert "has no finished run yet" in err


def test_whether_a_method_merges_depends_on_its_hyperparameters():
    def runs(method: str, **own: object) -> pd.DataFrame:
        return pd.DataFrame({"method": [method], "hyperparameters": [own]})

    told = merges(pd.concat([runs("lora", rank=1), runs("adaptformer", bottleneck=4, scale=0.1), runs("somebody's")]))
    assert told["lora"] is None
    assert "not linear" in told["adaptformer"]
    assert set(told) == {"lora", "adaptformer"}
    on_stream, on_branch = runs("sct", position="attn"), runs("sct", position="qkv")
    assert merges(on_stream)["sct"]
    assert merges(on_branch)["sct"] is None
    assert merges(pd.concat([on_branch, on_stream]))["sct"]  # where any run does not, the method may not
