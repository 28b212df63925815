"""Every reader, on real files that were changed at random: a result, or an error of the project's own; soon, and small.

`make test` tries the same few dozen cases for every reader each time. `make fuzz` tries `PETL_FUZZ` random ones, and
what it finds becomes a test in `test_strangers.py`.
"""

from __future__ import annotations

import io
import json
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from datetime import timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

import analysis
import hostile
import pictures
import studies
import toy
from petl_study import checkpoint, diff, export, logs, spec, status, store
from petl_study.backbones import checkpoints, exported
from petl_study.errors import InputError
from petl_study.images import View, decode
from petl_study.places import Places, use
from petl_study.store import KINDS, Record, Study
from petl_study.strangers import plain_json, plain_yaml
from petl_study.tasks import fgvc, folder

CASES = int(os.environ.get("PETL_FUZZ", "0"))
FEW = 10

settings.register_profile(
    "readers",
    max_examples=CASES or FEW,
    derandomize=not CASES,
    database=None,
    deadline=timedelta(seconds=20),
    suppress_health_check=list(HealthCheck),
    # Of many cases, what fails is told as it was found: making it small would take longer than all the others.
    phases=[Phase.explicit, Phase.generate] if CASES else list(Phase),
    print_blob=True,
)
settings.load_profile("readers")

MIDDLE = settings(max_examples=CASES // 3 or FEW)  # of what reads files
HEAVY = settings(max_examples=CASES // 50 or 4)  # of what asks everything of a study
MOST_GROWTH = 2**31  # bytes that one process may take more than before: an image of 89 million pixels, twice

pytestmark = pytest.mark.filterwarnings("ignore")  # Pillow warns of what it finds, in words of its own


@contextmanager
def bounded(*allowed: type[Exception]) -> Iterator[None]:
    """The block ends, or with an error that is meant for people; the process has not grown out of proportion."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        yield
    except (InputError, *allowed) as error:
        assert str(error)
        str(error).encode(errors="surrogateescape")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * 1024 < MOST_GROWTH


# -------------------------------------------------------------------------------------------------------------- studies


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("fuzz") / "study"
    return studies.write_study(path, tasks=["digits"], methods=["lora"], seeds=[0], examples=8, failed=None)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("scratch")


def fresh(study: Path, scratch: Path) -> tuple[Path, Path]:
    """A copy of the study, and in it a run."""
    copy = scratch / "study"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(study, copy)
    return copy, next((copy / "runs").glob("*/*/*"))


def fresh_run(study: Path, scratch: Path) -> Path:
    """A copy of a run alone."""
    copy = scratch / "run"
    shutil.rmtree(copy, ignore_errors=True)
    return shutil.copytree(next((study / "runs").glob("*/*/*")), copy)


def read_all(record: Record) -> None:
    """Its tensors, and of its sets the first and the last."""
    for name in {*record.sets[:1], *record.sets[-1:]}:
        for read in (record.logits, record.examples):
            with bounded():
                read(name)
    with bounded():
        record.tensors()


def ask_everything(path: Path) -> None:
    """Whatever reads a study, but for what draws: each answer is one, or an error for people."""
    for ask in (
        analysis.load_runs,
        analysis.load_trials,
        analysis.load_failures,
        analysis.load_accuracies,
        analysis.load_ensembles,
        lambda path: analysis.load_predictions(path, "digits"),
        status.show,
        logs.show,
        lambda path: [logs.show(r.path) for kind in KINDS for r in Study.open(path).records(kind)],
        lambda path: export.to("optuna", path, path / "out"),
        lambda path: diff.compare(path, path),
    ):
        with bounded(), redirect_stdout(io.StringIO()):
            ask(path)


@HEAVY
@given(data=st.data())
def test_a_header_with_other_values(study, scratch, data):
    """Its checksum is right: whoever changes a header can compute one."""
    copy, run = fresh(study, scratch)
    header = store.read(run).header
    content = data.draw(hostile.changed_json({name: value for name, value in header.items() if name != "checksum"}))
    with bounded(ValueError):
        hostile.write_sealed(run / "record.json", content)
    with bounded():
        read_all(store.read(run))
    ask_everything(copy)


@MIDDLE
@given(data=st.data())
def test_a_header_with_other_bytes(study, scratch, data):
    run = fresh_run(study, scratch)
    file = run / "record.json"
    file.write_bytes(data.draw(hostile.changed_bytes(file.read_bytes())))
    with bounded():
        read_all(store.read(run))


@pytest.mark.parametrize("name", ["logits.safetensors", "examples.parquet", "tuned.safetensors"])
@MIDDLE
@given(data=st.data())
def test_a_file_of_a_record_with_other_bytes(study, scratch, name, data):
    run = fresh_run(study, scratch)
    (run / name).write_bytes(data.draw(hostile.changed_bytes((run / name).read_bytes())))
    hostile.reseal(run)
    with bounded():
        read_all(store.read(run))


@pytest.mark.parametrize("name", ["logits.safetensors", "tuned.safetensors"])
@MIDDLE
@given(data=st.data())
def test_tensors_with_another_header(study, scratch, name, data):
    run = fresh_run(study, scratch)
    header, body = hostile.header_of((run / name).read_bytes())
    length = data.draw(st.one_of(st.none(), st.integers(0, 2**64 - 1)))
    (run / name).write_bytes(hostile.safetensors_of(data.draw(hostile.changed_json(header)), body, length))
    hostile.reseal(run)
    with bounded():
        read_all(store.read(run))


@HEAVY
@given(data=st.data())
def test_a_study_with_other_values(study, scratch, data):
    copy, _ = fresh(study, scratch)
    resolved = data.draw(st.sampled_from([Study(study).spec, _resolved()]))
    with bounded(ValueError):
        content = {"format": 1, "spec": data.draw(hostile.changed_json(resolved))}
        hostile.write_sealed(copy / "study.json", content)
    ask_everything(copy)


@MIDDLE
@given(data=st.data())
def test_a_study_with_other_bytes(study, scratch, data):
    (scratch / "bare").mkdir(exist_ok=True)
    file = scratch / "bare" / "study.json"
    file.write_bytes(data.draw(hostile.changed_bytes((study / "study.json").read_bytes())))
    with bounded():
        assert isinstance(Study.open(scratch / "bare").spec, dict)


@cache
def _resolved() -> dict[str, object]:
    return spec.resolve(toy.study()).model_dump()


@pytest.fixture(scope="module")
def left(tmp_path_factory) -> bytes:
    """A checkpoint as a stopped trial leaves it."""
    from petl_study import execution

    path = tmp_path_factory.mktemp("left")
    execution.execute(toy.trial("bitfit", until=1), path)
    [file] = (path / "checkpoints").rglob("*.safetensors")
    return file.read_bytes()


@MIDDLE
@given(data=st.data())
def test_a_checkpoint(left, scratch, data):
    if data.draw(st.booleans()):
        content = data.draw(hostile.changed_bytes(left))
    else:
        header, body = hostile.header_of(left)
        content = hostile.safetensors_of(data.draw(hostile.changed_json(header)), body)
    (scratch / "c.safetensors").write_bytes(content)
    with bounded():
        checkpoint.load(scratch / "c.safetensors")


# ---------------------------------------------------------------------------------------------------------- study files


STUDY_FILE = """name: mine
backbone: micro_vit
base: &base {trials: 2, lr: [1e-3, 1e-2]}
tasks: [toy, "vtab1k:cifar"]
methods:
  - bitfit
  - lora: {rank: [1, 8, 32]}
search: {<<: *base, sampler: tpe, weight_decay: [1e-4]}
seeds: [0, 1, 2]
protocol: {base: embedded, epochs: 20}
keep: {logits: float16, shifts: [contrast], tensors: [lora]}
""".replace('"vtab1k:cifar"', "digits")


@MIDDLE
@given(text=hostile.changed_text(STUDY_FILE))
def test_a_study_file_with_other_lines(scratch, text):
    (scratch / "study.yaml").write_text(text, "utf-8", errors="surrogatepass")
    with bounded():
        spec.load(scratch / "study.yaml")


@MIDDLE
@given(content=hostile.changed_json(toy.study()))
def test_a_study_file_with_other_values(content):
    with bounded():
        spec.resolve(content)


@given(text=st.text(st.sampled_from("&*ab<:[]{},-? |>'\"%!#\n \t0.1e_~"), max_size=60))
def test_text_of_what_yaml_is_made_of(text):
    with bounded(plain_yaml.NoYaml):
        yaml.safe_dump(plain_yaml.parse(text))


@given(text=st.text(st.sampled_from('[]{}",:0123456789.eE-+ \\untrfalsNI\n'), max_size=60) | st.binary(max_size=60))
def test_text_of_what_json_is_made_of(text):
    with bounded(plain_json.NoJson):
        json.dumps(plain_json.parse(text), allow_nan=False).encode()


# --------------------------------------------------------------------------------------------------------- images, data


@cache
def picture(form: str) -> bytes:
    file = io.BytesIO()
    made = Image.fromarray(pictures.image(0, 24, 16))
    exif = Image.Exif()
    exif[0x0112] = 6
    if form in ("JPEG", "PNG", "WEBP"):
        made.save(file, form, exif=exif)
    else:
        made.save(file, form)
    return file.getvalue()


@pytest.mark.parametrize("view", [View(), View("direct", 8), View("crop", 8)], ids=str)
@pytest.mark.parametrize("form", decode.FORMATS)
@given(data=st.data())
def test_an_image(form, view, data):
    content = data.draw(hostile.changed_bytes(picture(form)))
    with bounded(decode.BadImage):
        seen = decode.read(io.BytesIO(content), view)
        assert (seen.dtype, seen.ndim, seen.shape[2]) == (np.uint8, 3, 3)


@pytest.fixture(scope="module")
def data_here(tmp_path_factory) -> Path:
    """A directory of data with a task of lists, one of folders, and FGVC's."""
    root = tmp_path_factory.mktemp("data")
    pictures.write_lists(root / "lists", {"train800.txt": 6, "val200.txt": 3, "test.txt": 3})
    (root / "lists" / "classes.txt").write_text("red\ngreen\nblue\n")
    use(Places(data=root, cache_gb=0))
    return root


@pytest.mark.parametrize("name", ["train800.txt", "val200.txt", "test.txt", "classes.txt"])
@MIDDLE
@given(data=st.data())
def test_a_list(data_here, name, data):
    file = data_here / "lists" / name
    before = file.read_bytes()
    try:
        change = data.draw(st.sampled_from([hostile.changed_bytes(before), hostile.changed_text(before.decode())]))
        changed = data.draw(change)
        file.write_bytes(changed.encode(errors="surrogatepass") if isinstance(changed, str) else changed)
        with bounded():
            task = folder.load("lists")
            for one in (*task.train.ids, *task.test.ids):
                assert (data_here / "lists" / one).absolute().is_relative_to(data_here)
                assert ".." not in Path(one).parts
    finally:
        file.write_bytes(before)


@given(content=hostile.changed_json({"a/b.jpg": 7, "c.jpg": 8, "d/e/f.jpg": 9}))
def test_a_json_list_of_images(scratch, content):
    (scratch / "train.json").write_text(json.dumps(content), "utf-8", errors="surrogatepass")
    with bounded():
        listed = fgvc._read(scratch / "train.json", scratch)
        assert all((scratch / path).resolve().is_relative_to(scratch.resolve()) for path in listed)


# -------------------------------------------------------------------------------------------------------------- weights


@cache
def weights(kind: str) -> bytes:
    file = io.BytesIO()
    tensors = {"head.weight": torch.ones(3, 2), "blocks.0.norm1.bias": torch.zeros(2)}
    if kind == "npz":
        np.savez(file, **{name: tensor.numpy() for name, tensor in tensors.items()})
    elif kind == "npz, compressed":
        np.savez_compressed(file, **{name: tensor.numpy() for name, tensor in tensors.items()})
    else:
        torch.save({"state_dict": tensors}, file, _use_new_zipfile_serialization=kind == "pth")
    return file.getvalue()


@pytest.mark.parametrize("kind", ["pth", "pth, old", "npz", "npz, compressed"])
@MIDDLE
@given(data=st.data())
def test_a_weight_file(scratch, kind, data):
    file = scratch / f"weights.{kind.partition(',')[0]}"
    file.write_bytes(data.draw(hostile.changed_bytes(weights(kind))))
    read: Callable[[Path], object] = checkpoints.npz if file.suffix == ".npz" else checkpoints.read
    with bounded():
        read(file)


@given(
    content=hostile.changed_json(
        {
            "architecture": "vit_tiny_patch16_224",
            "model_args": {"depth": 2, "embed_dim": 24, "num_heads": 3},
            "pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "input_size": [3, 32, 32], "crop_pct": 0.9},
        }
    )
)
def test_the_configuration_of_a_model(scratch, content):
    (scratch / "config.json").write_text(json.dumps(content), "utf-8", errors="surrogatepass")
    with bounded():
        exported._model(scratch / "config.json", scratch / "weights.pth")
