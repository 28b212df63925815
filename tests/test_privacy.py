"""What lands in a study's directory says nothing of whose machine it was made on."""

from __future__ import annotations

import getpass
import os
import socket
from pathlib import Path

import pytest

import pictures
from petl_study import engines, export, places, privacy, report, runner, spec, training
from petl_study.places import Places
from petl_study.store import Study

MARK = "Whose1Machine"


class Silent:
    def __getattr__(self, name):
        return lambda *_: None


@pytest.fixture
def machine(tmp_path, monkeypatch) -> Path:
    """Home, data, cache and working directory all below a directory with a name that tells."""
    root = tmp_path / MARK
    for part in ("home", "data", "cache", "here"):
        (root / part).mkdir(parents=True)
    for name in ("HOME", "USER", "LOGNAME", "HOSTNAME", "PETL_SECRET"):
        monkeypatch.setenv(name, str(root / "home") if name == "HOME" else MARK)
    monkeypatch.setattr(socket, "gethostname", lambda: f"{MARK}-host")
    monkeypatch.chdir(root / "here")
    before = places.here()
    places.use(Places(data=root / "data", cache=root / "cache"))
    yield root
    places.use(before)


def test_no_byte_of_a_study_tells_where_it_was_made(machine, tmp_path, monkeypatch):
    """A run on folders below and beside --data, with an image left out and a trial that fails naming a file; then the
    report and every export of it."""
    sizes = {"train800.txt": 6, "val200.txt": 3, "test.txt": 3}
    pictures.write_lists(machine / "data" / "pets", sizes)
    pictures.write(machine / "data" / "pets" / "images" / "train800" / "00003.png")
    pictures.write_classes(machine / "elsewhere" / "animals", {"a": 5, "b": 5})
    places.use(Places(data=machine / "data", cache=machine / "cache", on_bad_image="skip"))
    short = {"base": "embedded", "resize": "direct", "image_size": 32, "epochs": 1, "warmup_epochs": 0, "batch_size": 8}
    shifts = {"other": f"folder:{machine}/elsewhere/animals"}
    study = spec.resolve(
        {
            "name": "s",
            "backbone": "micro_vit",
            "tasks": ["folder:pets", {f"folder:{machine}/elsewhere/animals": {"shifts": shifts}}],
            "methods": ["linear"],
            "protocol": short,
            "search": {"lr": [1e-3, 1e-2], "weight_decay": [0.0]},
        }
    )
    fit, fitted = training.fit, []

    def sometimes(*given, lr, **options):
        fitted.append(lr)
        if lr == 1e-2:
            raise training.Diverged(f"[Errno 2] No such file: '{machine}/home/my data/x.bin' on {MARK}-host")
        return fit(*given, lr=lr, **options)

    monkeypatch.setattr(training, "fit", sometimes)
    out = machine / "out" / "study"
    with engines.create("serial", workers=1, threads=1, device="cpu") as engine:
        outcome = runner.run(study, out, engine, Silent())
    assert outcome.failed == 2
    assert fitted
    records = [record for kind in ("trial", "run") for record in Study(out).records(kind)]
    assert any("skipped" in record.header["task"] for record in records)
    assert any("HOME/my data/x.bin" in record.header["error"]["message"] for record in records if record.failed)
    monkeypatch.setattr(report, "DPI", 40)  # most of a report's time goes into its pixels
    report.build(out)
    for program in ("tensorboard", "optuna"):  # of MLflow's the same is said where all three are tested
        export.to(program, out, out / program)
    told = [MARK.encode(), str(tmp_path).encode()]
    for file in out.rglob("*"):
        assert MARK not in str(file.relative_to(out))
        assert file.is_dir() or not any(mark in file.read_bytes() for mark in told), file


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cannot open '/srv/projects/secret/a.png'", "cannot open '.../a.png'"),
        ('File "/opt/x/lib.py", line 3, in f', 'File ".../lib.py", line 3, in f'),
        ("shape (3, 4) / 2 and 1/2 and a/b/c", "shape (3, 4) / 2 and 1/2 and a/b/c"),
        ("see https://example.org/a/b", "see https://example.org/a/b"),
        ("loss became nan", "loss became nan"),
        (r"C:\Users\me\data.bin is gone", ".../data.bin is gone"),
    ],
)
def test_paths_that_no_one_named_keep_their_last_part(text, shown):
    assert privacy.without_places(text) == shown


def test_directories_are_called_by_what_they_are(machine, tmp_path):
    study = tmp_path / "out" / "study"
    pets = ("folder:pets", machine / "far" / "pets")
    places.use(Places(data=machine / "data", folders=(pets,), cache=machine / "cache"))
    text = f"{machine}/data/a b/1.png {machine}/far/pets/2.png {machine}/home/3 {study}/runs/x {machine}/cache/4"
    assert privacy.without_places(text, study) == "DATA/a b/1.png folder:pets/2.png HOME/3 STUDY/runs/x CACHE/4"
    assert privacy.without_places(f"no route to {MARK}-host.") == "no route to HOST."


def test_a_traceback_names_code_and_no_one(machine):
    import traceback

    try:
        (Path.home() / "weights.bin").read_bytes()
    except OSError:
        shown = privacy.without_places(traceback.format_exc())
    assert MARK not in shown
    assert str(Path(__file__).parent) not in shown
    assert os.sep + getpass.getuser() + os.sep not in shown
    assert "HOME/weights.bin" in shown
    assert "test_privacy.py" in shown
