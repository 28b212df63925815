from __future__ import annotations

import copy
import json

import pytest
import torch

from petl_study import learning, places
from petl_study.bench import machine, output, steps, subjects, turns
from petl_study.bench.subjects import PEFT, Setting, Subject
from petl_study.cli import main
from petl_study.errors import InputError

SMALL = ["--backbone", "micro_vit", "--batch", "4", "--rounds", "2", "--no-memory"]


@pytest.fixture(autouse=True)
def small_squares(monkeypatch):
    monkeypatch.setattr(steps, "SQUARE", {"cpu": 64, "cuda": 64})


def test_a_step_is_measured_beside_its_products_and_peft_and_written(tmp_path, capsys):
    out = tmp_path / "train.json"
    assert main(["bench", "train", *SMALL, "--methods", "lora,linear", "--beside", "peft", "--out", str(out)]) == 0
    made = json.loads(out.read_text())
    assert [row["method"] for row in made["rows"]] == ["lora", f"{PEFT} beside lora", "linear", f"{PEFT} beside linear"]
    for row in made["rows"]:
        assert row["seconds_low"] <= row["seconds"] <= row["seconds_high"]
        assert row["outside_low"] <= row["outside"] <= row["outside_high"]
        assert row["images_per_second"] == pytest.approx(4 / row["seconds"])
        assert row["flops_per_second"] == pytest.approx(row["flops"] / row["seconds"])
        assert row["of_machine"] == pytest.approx(row["flops_per_second"] / row["machine_flops_per_second"])
    assert "over_peft" in made["rows"][0]
    assert made["rows"][0]["flops"] > made["rows"][2]["flops"]
    assert (made["bench"], made["at_once"], made["precision"]) == ("train", 4, "fp32")
    assert made["environment"]["threads"] == 1
    printed = capsys.readouterr().out
    assert "median and quartiles of 2 pairs, micro_vit, batches of 4, 4 at once, fp32" in printed


# torch.compile looks at .grad of whatever comes by, and hides the warning from filters other than pytest's.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_compiled_blocks_do_the_same_products_and_say_what_compiling_takes(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(learning, "BACKEND", "aot_eager")  # traces and splits as inductor does, without its minute
    out = tmp_path / "train.json"
    rows = []
    for options in ([], ["--compile"]):
        assert main(["bench", "train", *SMALL, "--methods", "lora", *options, "--out", str(out)]) == 0
        made = json.loads(out.read_text())
        rows += made["rows"]
    assert rows[1]["flops"] == rows[0]["flops"]
    assert made["compiled"] is True
    assert rows[1]["compile_seconds"] > 3 * rows[1]["seconds"]
    assert "lora: compiled in" in capsys.readouterr().out
    assert main(["bench", "train", *SMALL, "--compile", "--beside", "peft"]) == 2
    assert "leave one out" in capsys.readouterr().err
    torch.compiler.reset()


def test_prediction_in_bf16_of_the_plain_model_and_in_parts(tmp_path):
    out = tmp_path / "predict.json"
    options = [*SMALL, "--methods", "plain,ssf", "--precision", "bf16", "--out", str(out)]
    assert main(["bench", "predict", *options]) == 0
    made = json.loads(out.read_text())
    assert [row["method"] for row in made["rows"]] == ["plain", "ssf"]
    assert made["rows"][0]["flops"] == made["rows"][1]["flops"]  # scales and shifts are no products
    assert made["precision"] == "bf16"


def test_the_micro_batch_is_as_given_and_only_while_it_is_measured(tmp_path):
    out = tmp_path / "train.json"
    assert main(["bench", "train", *SMALL, "--methods", "linear", "--micro-batch", "2", "--out", str(out)]) == 0
    assert json.loads(out.read_text())["at_once"] == 2
    assert places.here().micro_batch is None


def test_memory_is_of_a_process_of_its_own_and_beside_the_least_that_it_takes():
    setting = Setting("micro_vit", 8, "fp32", "cpu")
    made = steps.measure(steps.TRAIN, [Subject("lora")], setting, rounds=1)
    [row] = made["rows"]
    assert row["least_bytes"] == sum(term["bytes"] for term in row["least"])
    assert row["over_least"] == pytest.approx(row["peak_bytes"] / row["least_bytes"])
    assert row["peak_bytes"] > 0.7 * row["least_bytes"]  # some of what small models take was there before
    steps.show(made)


def test_pefts_lora_starts_as_the_same_model_and_trains_as_many_numbers():
    setting = Setting("micro_vit", 2, "fp32", "cpu")
    examples, plain = subjects.drawn(setting), subjects.plain("micro_vit")
    models = [Subject(name, 4).on(copy.deepcopy(plain), examples) for name in ("lora", PEFT)]
    said = [model.eval()(examples.images) for model in models]
    torch.testing.assert_close(said[0], said[1])
    ours, theirs = (sum(p.numel() for p in model.parameters() if p.requires_grad) for model in models)
    assert ours == theirs


def test_a_method_without_meaning_on_the_backbone_is_left_out_with_its_reason(capsys):
    setting = Setting("random:test_convnext", 2, "fp32", "cpu")
    made = steps.measure(steps.TRAIN, [Subject("vpt_deep"), Subject("bitfit")], setting, rounds=1, memory=False)
    assert [row["method"] for row in made["rows"]] == ["bitfit"]
    assert [one["method"] for one in made["left_out"]] == ["vpt_deep"]
    steps.show(made)
    assert made["left_out"][0]["reason"] in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--methods", "lorra"], "Did you mean 'lora'?"),
        (["--methods", "plain"], "unknown method 'plain'"),
        (["--rounds", "0"], "--rounds must be a whole number of at least 1, got 0"),
        (["--micro-batch", "0"], "--micro-batch must be a whole number of at least 1, got 0"),
        (["--rank", "0", "--methods", "lora"], "rank must be a whole number of at least 1, got 0"),
        (["--drop-path", "1"], "--drop-path must be at least 0 and below 1, got 1.0"),
        (["--device", "cuda:99"], "device 'cuda:99' is not to be had here"),
        (["--backbone", "nothing"], "unknown backbone 'nothing'"),
        (["--compare", "nowhere.json"], "--compare nowhere.json is not what `petl-study bench train --out FILE`"),
    ],
)
def test_wrong_input_is_one_message(options, message, capsys):
    assert main(["bench", "train", *SMALL, *options]) == 2
    assert message in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------- turns, machine, compare


def test_works_take_turns_forth_and_back_and_the_first_round_does_not_count():
    seen: list[str] = []
    works = {name: lambda name=name: seen.append(name) for name in "ab"}
    times = turns.in_turns(works, 2, lambda work: work() or len(seen))
    assert seen == ["b", "a", "a", "b", "b", "a"]
    assert times == {"a": [3, 6], "b": [4, 5]}


def test_ratios_are_taken_pair_by_pair():
    assert turns.ratio([2.0, 30.0, 4.0], [1.0, 10.0, 1.0]) == turns.Quartiles(2.5, 3.0, 3.5)


def test_the_machine_is_described_without_its_name_or_a_path(monkeypatch):
    monkeypatch.setenv("OMP_PROC_BIND", "true")
    monkeypatch.setenv("MKL_ROOT", "/somewhere/on/it")
    monkeypatch.setenv("LD_PRELOAD", "/usr/lib/libtcmalloc.so.4")
    told = machine.describe()
    assert told["set"]["OMP_PROC_BIND"] == "true"
    assert told["allocator"] == ["libtcmalloc.so.4"]
    assert told["memory_bytes"] > 1e8
    assert {"torch", "timm", "python"} <= told["versions"].keys()
    assert "/" not in json.dumps({key: value for key, value in told.items() if key not in ("libraries", "processor")})


def file(**changes: object) -> dict[str, object]:
    row = {"method": "lora", "seconds": 2.0, "flops": 10, "hyperparameters": {"rank": 8}}
    made = {"bench": "train", "batch": 4, "rounds": 3, "rows": [row, {**row, "method": "full"}]}
    return {**made, "environment": {"threads": 1, "processor": "fast"}, **changes}


def test_ratios_are_new_over_old_row_by_row():
    old = file(rows=[{"method": "full", "seconds": 8.0}, {"method": "lora", "seconds": 4.0, "flops": 20}])
    found = output.ratios(file(), old, ("method",))
    assert [(one["row"], one["figure"], one["ratio"]) for one in found] == [
        ("lora", "seconds", 0.5),
        ("lora", "flops", 0.5),
        ("full", "seconds", 0.25),
    ]


def test_what_was_not_measured_alike_is_said(capsys):
    row = {"method": "lora", "seconds": 4.0, "flops": 20, "hyperparameters": {"rank": 1}}
    old = file(batch=8, rounds=9, environment={"threads": 2, "processor": "fast"}, rows=[row])
    assert output.differing(file(), old) == ["batch: 8 before, 4 now", "threads: 2 before, 1 now"]
    output.show_ratios(file(), old, ("method",))
    printed = capsys.readouterr().out
    assert "flops of lora: 20 before, 10 now" in printed
    assert "hyperparameters of lora: {'rank': 1} before" in printed
    assert "in one of the two alone: full" in printed
    assert output.differing(file(), file(rounds=1)) == []


def test_a_file_is_compared_with_itself_and_with_no_other_bench(tmp_path, capsys):
    out = tmp_path / "train.json"
    small = ["bench", "train", *SMALL, "--methods", "linear"]
    assert main([*small, "--out", str(out)]) == 0
    assert main([*small, "--compare", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "now / before" in printed
    assert "not measured alike" not in printed
    assert main(["bench", "predict", *SMALL, "--methods", "plain", "--compare", str(out)]) == 2
    assert "holds measurements of `bench train`" in capsys.readouterr().err


def test_what_is_no_file_of_measurements_is_refused(tmp_path):
    for text in ("[]", "{}", '{"rows": 1, "environment": {}}', "nothing"):
        (tmp_path / "x.json").write_text(text)
        options = type("Options", (), {"compare": tmp_path / "x.json"})
        with pytest.raises(InputError, match="is not what"):
            output.earlier(options, "train")  # type: ignore[arg-type]
