"""Files that were made to harm, and those that random changes found: each is refused in words, soon, and small."""

from __future__ import annotations

import io
import json
import os
import resource
import struct
import time
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
import torch
from PIL import Image

import hostile
import pictures
import studies
import toy
from petl_study import checkpoint, export, spec, status, store
from petl_study.backbones import checkpoints, exported
from petl_study.errors import DamagedRecord, InputError
from petl_study.images import View, decode
from petl_study.store import Record, Study
from petl_study.strangers import plain_json, plain_yaml
from petl_study.strangers.text import listed, one_line, plain
from petl_study.tasks._lists import read_folders


@pytest.fixture
def study(tmp_path) -> Path:
    return studies.write_study(
        tmp_path / "study", tasks=["digits"], methods=["lora"], seeds=[0], examples=8, failed=None
    )


@pytest.fixture
def run(study) -> Record:
    [found] = Study(study).records("run")
    return found


@pytest.fixture(autouse=True)
def little():
    """No test here may take long or allocate much: that is what the files are after."""
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**19  # kilobytes: half a gigabyte
    assert time.process_time() - began < 10


# ---------------------------------------------------------------------------------------------------------------- JSON


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("NaN", "NaN is no number of JSON's"),
        ('{"x": -Infinity}', "-Infinity is no number"),
        ('"\\ud800"', "characters that are none"),
        ("9" * 5000, "Exceeds the limit"),
        (b"\xff\xfe\x00", "decode|truncated"),
    ],
)
def test_what_is_no_json_is_refused(text, reason):
    with pytest.raises(plain_json.NoJson, match=reason):
        plain_json.parse(text)


def test_a_giant_file_is_not_read(tmp_path):
    with (tmp_path / "giant.json").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(plain_json.NoJson, match="larger than 33,554,432 bytes"):
        plain_json.read(tmp_path / "giant.json")


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"checksum": NaN, "format": 1}', '{"checksum": "\\udc80", "format": 1}']
)
def test_a_record_and_a_study_of_such_json_are_damaged(study, run, text):
    (run.path / "record.json").write_text(text)
    with pytest.raises(DamagedRecord, match=r"record\.json is damaged: it cannot be read"):
        store.read(run.path)
    (study / "study.json").write_text(text)
    with pytest.raises(DamagedRecord, match=r"study\.json is damaged: it cannot be read"):
        _ = Study(study).spec


# -------------------------------------------------------------------------------------------------------------- headers


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", "virus"),
        ("status", ["finished"]),
        ("spec", {"task": ["digits"], "method": "lora"}),
        ("results", {"val": 3}),
        ("results", {"val": {"accuracy": "0.9"}}),
        ("files", {"../../../etc/passwd": {"bytes": 1, "sha256": "0" * 64}}),
        ("files", {"/etc/passwd": {"bytes": 1, "sha256": "0" * 64}}),
        ("files", {"record.json": {"bytes": 1, "sha256": "0" * 64}}),
        ("files", {"logits.safetensors": {"bytes": -1, "sha256": "0" * 64}}),
        ("files", {"logits.safetensors": {}}),
        ("curve", [{"epoch": "1"}]),
        ("task", {"classes": 10}),
        ("cost", {"fit_seconds": {}}),
        ("selected", {"path": 7}),
    ],
)
def test_a_header_that_is_not_built_as_headers_are_is_refused(run, field, value):
    hostile.write_sealed(run.path / "record.json", {**run.header, field: value})
    with pytest.raises(DamagedRecord, match=rf"is intact but not as this version writes it: {field} is not as"):
        store.read(run.path)


def test_a_failure_without_a_reason_is_refused(run):
    hostile.write_sealed(run.path / "record.json", {**run.header, "status": "failed", "error": None})
    with pytest.raises(DamagedRecord, match="it failed and does not say why"):
        store.read(run.path)


def test_a_study_of_another_writer_is_named_by_whoever_reads_it(study):
    """Found by changing values at random: a name where a mapping was, no tasks, a space that is none."""
    for spec_ in (
        {},
        {"tasks": 3},
        {**Study(study).spec, "methods": ["lora"]},
        {"tasks": [], "methods": [{"name": 1}]},
    ):
        hostile.write_sealed(study / "study.json", {"format": 1, "spec": spec_})
        with pytest.raises(DamagedRecord, match=r"study\.json is intact but not as this version writes it"):
            status.show(study)
    hostile.write_sealed(study / "study.json", {"format": 1, "spec": [1]})
    with pytest.raises(DamagedRecord, match="has no study's specification"):
        _ = Study(study).spec


# ---------------------------------------------------------------------------------------------------- tensors, examples


def rewritten(run: Record, name: str, content: bytes) -> Record:
    """The record with another file of that name, checksums and all."""
    (run.path / name).write_bytes(content)
    hostile.reseal(run.path)
    return store.read(run.path)


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<Q", 10**11) + b"{}",  # a header of 100 GB
        struct.pack("<Q", 2**64 - 1),
        b"",
        hostile.safetensors_of(
            {"test": {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 4 * 10**12]}}, b""
        ),
        hostile.safetensors_of({"test": {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 0]}}, b""),
        hostile.safetensors_of({"test": {"dtype": "F32", "shape": [10**12, 0], "data_offsets": [0, 0]}}, b""),
        hostile.safetensors_of({"test": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"abcd"),
        hostile.safetensors_of({"test": {"dtype": "I32", "shape": [1, 1], "data_offsets": [0, 4]}}, b"abcd"),
        hostile.safetensors_of({"test": {"dtype": "F8_E4M3", "shape": [1, 1], "data_offsets": [0, 1]}}, b"a"),
        hostile.safetensors_of({"other": {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 4]}}, b"abcd"),
        hostile.safetensors_of(b"[" * 100_000, b""),
    ],
)
def test_logits_that_are_not_there_are_not_allocated(run, content):
    found = rewritten(run, "logits.safetensors", content)
    with pytest.raises(DamagedRecord, match=r"logits\.safetensors is intact but not as this version writes it"):
        found.logits("test")


def table(path: Path, rows: int, ids: list[str], **options: object) -> bytes:
    """A table of one id and one label, `rows` times: a few kilobytes, whatever `rows` is."""
    index = pa.array(np.zeros(rows, np.int32))
    columns = {
        "set": pa.DictionaryArray.from_arrays(index, ["test"]),
        "id": pa.DictionaryArray.from_arrays(index, ids),
        "label": pa.array(np.zeros(rows, np.int64)),
    }
    pq.write_table(pa.table(columns), path, **options)
    return path.read_bytes()


def test_a_table_with_more_rows_than_logits_is_not_read(run, tmp_path):
    content = table(tmp_path / "bomb.parquet", 5_000_000, ["x"])
    assert len(content) < 100_000
    with pytest.raises(DamagedRecord, match="it has 5000000 rows, and the logits beside it"):
        rewritten(run, "examples.parquet", content).examples("test")


def test_a_table_of_giant_ids_is_not_read(run, tmp_path):
    """A NumPy array of text is as wide as its longest: one id of a megabyte makes every other one as large."""
    rows = sum(len(run.logits(name)) for name in run.sets)
    content = table(tmp_path / "wide.parquet", rows, ["x" * 10**6])
    with pytest.raises(DamagedRecord, match="ids has 1000000 characters"):
        rewritten(run, "examples.parquet", content).examples("test")


def test_a_table_that_expands_or_has_other_columns_is_not_read(run, tmp_path):
    rows = sum(len(run.logits(name)) for name in run.sets)
    content = table(tmp_path / "zipped.parquet", rows, ["x"], compression="gzip")
    with pytest.raises(DamagedRecord, match="compressed with GZIP"):
        rewritten(run, "examples.parquet", content).examples("test")
    pq.write_table(pa.table({"set": ["test"] * rows}), tmp_path / "other.parquet")
    with pytest.raises(DamagedRecord, match=r"intact but not as .*: b'id'|no set, id and label"):
        rewritten(run, "examples.parquet", (tmp_path / "other.parquet").read_bytes()).examples("test")
    with pytest.raises(DamagedRecord, match=r"examples\.parquet is intact but not as"):
        rewritten(run, "examples.parquet", b"PAR1" + b"\xff" * 40 + b"PAR1").examples("test")


# ---------------------------------------------------------------------------------------------------------------- links


def test_a_file_of_a_record_is_its_own(run, tmp_path):
    (tmp_path / "elsewhere").write_bytes((run.path / "logits.safetensors").read_bytes())
    (run.path / "logits.safetensors").unlink()
    (run.path / "logits.safetensors").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DamagedRecord, match=r"logits\.safetensors is damaged: it is missing"):
        store.read(run.path)


@pytest.mark.parametrize("kind", ["task", "method"])
def test_nothing_is_written_through_a_link(study, run, tmp_path, kind):
    outside, inside = tmp_path / "outside", Study(study)
    outside.mkdir()
    link = run.path.parents[1] if kind == "task" else run.path.parents[0]
    link.rename(tmp_path / "moved")
    link.symlink_to(outside)
    with pytest.raises(InputError, match="is a symbolic link: a study's files are its own"):
        inside.directory("run", run.spec)
    (study / "checkpoints").symlink_to(outside)
    with pytest.raises(InputError, match="checkpoints is a symbolic link"):
        inside.checkpoint({**run.spec, "task": "letters"})
    assert not list(outside.iterdir())


@pytest.mark.parametrize("name", ["..", "../../etc", "/etc/passwd", "a/../../b", ".", "~root", "\0", "a\nb"])
def test_no_name_of_a_task_or_method_leaves_the_study(study, run, name):
    where = Study(study).directory("run", {**run.spec, "task": name, "method": name})
    assert os.path.normpath(where) == str(where)
    assert where.parents[2] == study / "runs"


def test_links_among_folders_of_images_are_followed_once(tmp_path):
    """Twelve folders with links to all the others: paths without a repetition are some hundred million."""
    names = [f"d{i:02}" for i in range(12)]
    for name in names:
        pictures.write(tmp_path / "a" / name / "x.png", pictures.image(0))
    for name in names:
        for other in names:
            (tmp_path / "a" / name / f"to-{other}").symlink_to(tmp_path / "a" / other)
    pictures.write(tmp_path / "b" / "x.png", pictures.image(1))
    found = read_folders(tmp_path, "", ["a", "b"])
    assert {f"a/{name}/x.png" for name in names} <= set(found.ids)
    assert len(found) < 100


# ---------------------------------------------------------------------------------------------------------- study files


BOMB = "a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n" + "".join(
    f"{b}: &{b} [{', '.join(f'*{a}' for _ in range(9))}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {k: v}\n" + "".join(
    f"{b}: &{b} {{<<: [{', '.join(f'*{a}' for _ in range(9))}]}}\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (BOMB, "more than 100,000 values, aliases written out"),
        (MERGES, "more than 100,000 values, aliases written out"),
        ("a: &a [*a]", "an alias stands for what it lies in"),
        ("a: !!python/object/apply:os.system [id]", "line 1 has the tag"),
        ("a: 1\nb: !!binary aGk=", "line 2 has the tag"),
        ("a: !secret x", "has the tag '!secret'"),
        ("[" * 5000, "nested too deeply"),
        ("- " * 5000, "nested too deeply"),
        ("a: 2001-13-45", "month must be in"),
        ("a: " + "9" * 5000, "Exceeds the limit"),
        ("\0", "special characters are not allowed"),
        ("? [a]\n: b", "unhashable"),
        ("a: *nobody", "undefined alias"),
        ("a: 1\n---\nb: 2", "but found another document"),
    ],
)
def test_yaml_that_is_more_than_data_is_refused(tmp_path, text, reason):
    with pytest.raises(plain_yaml.NoYaml, match=reason):
        plain_yaml.parse(text)
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(InputError, match=r"s\.yaml is not valid YAML"):
        spec.load(tmp_path / "s.yaml")


def test_anchors_that_save_typing_are_read():
    text = "base: &base {lr: [1e-3]}\nsearch: {<<: *base, trials: 2}\nagain: *base"
    assert plain_yaml.parse(text) == {
        "base": {"lr": [1e-3]},
        "search": {"lr": [1e-3], "trials": 2},
        "again": {"lr": [1e-3]},
    }


def test_a_giant_study_file_is_not_read(tmp_path):
    with (tmp_path / "s.yaml").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(InputError, match="larger than 262,144 bytes"):
        spec.load(tmp_path / "s.yaml")


@pytest.mark.parametrize("search", [{"trials": 10**12, "sampler": "random"}, {"lr": [i / 1e6 for i in range(10**5)]}])
def test_a_search_larger_than_memory_is_refused(search):
    space = {"rank": list(range(1, 20))}
    with pytest.raises(InputError, match="a search is of at most 1,000,000 points"):
        spec.resolve(toy.study(methods=[{"lora": space}], search={"weight_decay": [0.0], **search}))


def test_a_protocol_whose_base_is_a_list_is_refused():
    with pytest.raises(InputError, match=r"unknown protocol \['embedded'\]"):
        spec.resolve(toy.study(protocol={"base": ["embedded"]}))


def test_what_is_wrong_is_quoted_in_a_line():
    with pytest.raises(InputError) as error:
        spec.resolve(toy.study(seeds=["x" * 10**6]))
    assert len(str(error.value)) < 1000


# ---------------------------------------------------------------------------------------------------------- checkpoints


def test_a_checkpoint_of_another_training_is_refused_and_of_none_passed_by(tmp_path):
    file = tmp_path / "c.safetensors"
    for made in ({}, {"seconds": "1", "environment": {}}, {"environment": {}}):
        checkpoint.Checkpoint([], {"parameter/x": torch.ones(1)}, {}, {}).save(file, **made)
        assert checkpoint.load(file) is None
    for content in (b"", struct.pack("<Q", 2**63), hostile.safetensors_of({"__metadata__": {"training": "["}}, b"")):
        file.write_bytes(content)
        assert checkpoint.load(file) is None
    left = checkpoint.Checkpoint([], {"parameter/x": torch.ones(1)}, {}, {})
    model = torch.nn.Linear(2, 2)
    parts = checkpoint.Parts(model, dict(model.named_parameters()), torch.optim.AdamW(model.parameters()), None, None)
    with pytest.raises(InputError, match=r"is not of the training that goes on from it .* Remove that directory"):
        left.restore(parts)


# --------------------------------------------------------------------------------------------------------------- images


def test_an_image_that_claims_to_be_enormous_is_not_decoded():
    made = io.BytesIO()
    Image.new("L", (8, 8)).save(made, "PNG")
    content = bytearray(made.getvalue())
    content[16:24] = struct.pack(">II", 60_000, 60_000)
    content[29:33] = struct.pack(">I", zipfile.crc32(content[12:29]))
    with pytest.raises(decode.BadImage, match=r"3600000000 pixels.* exceeds limit|60000 x 60000 pixels are more than"):
        decode.read(io.BytesIO(content), View())


def test_an_image_of_zeros_is_no_larger_than_allowed():
    """A megapixel of nothing compresses to a kilobyte: what counts is what it would be."""
    made = io.BytesIO()
    Image.new("1", (30_000, 3_000)).save(made, "PNG", optimize=True)
    assert len(made.getvalue()) < 100_000
    with pytest.raises(decode.BadImage, match=r"90000000 pixels.* exceeds limit|more than 89,000,000"):
        decode.read(io.BytesIO(made.getvalue()), View())


# -------------------------------------------------------------------------------------------------------------- weights


def test_arrays_that_a_small_file_claims_are_not_allocated(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.npz", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (10**6, 10**6)})
        file.write(b"\0" * 10**6)
    with pytest.raises(DamagedRecord, match="its arrays claim 4,000,000,000,000 bytes"):
        checkpoints.npz(tmp_path / "w.npz")


@pytest.mark.parametrize("content", [b"\x80\x02.", b"QK\x03\x04" + b"\x80\x02}q\x00.", b"PK\x05\x06" + b"\0" * 18])
def test_weights_of_altered_bytes_are_damaged(tmp_path, content):
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(InputError, match=r"w\.pth"):
        checkpoints.read(tmp_path / "w.pth")


@pytest.mark.parametrize(
    "arguments", [{"depth": 10**9}, {"embed_dim": 1e12}, {"depths": [2] * 10**4}, {"a": {"b": [10**9]}}]
)
def test_a_model_of_impossible_size_is_not_built(tmp_path, arguments):
    content = {"architecture": "vit_tiny_patch16_224", "model_args": arguments}
    (tmp_path / "config.json").write_text(json.dumps(content))
    safetensors.numpy.save_file({"x": np.ones(1)}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=f"more than any model of timm has, with {next(iter(arguments))}"):
        exported._model(tmp_path / "config.json", tmp_path / "model.safetensors")


# ----------------------------------------------------------------------------------------------------------------- text


@pytest.mark.parametrize("code", ["\x1b[31m", "\x07", "\x9b2J", "\u202e", "\x7f", "\r", "\ud800"])
def test_text_that_would_do_something_is_shown(code):
    assert plain(f"a{code}b").startswith("a\\")
    plain(f"a{code}b").encode()
    assert plain("é\tü\n漢字🙂") == "é\tü\n漢字🙂"


def test_long_text_is_cut_and_long_lists_counted():
    assert one_line("a\n b " * 100) == f"{('a b ' * 100)[:197]}..."
    assert listed(range(15), 2) == "0, 1 and 13 more"


def test_an_error_of_a_strangers_study_cannot_drive_the_terminal(study, capsys):
    from petl_study import cli

    hostile.write_sealed(study / "study.json", {"format": 1, "spec": {"tasks": "\x1b[2J"}})
    assert cli.main(["status", str(study)]) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_exports_of_a_strangers_record_are_refused_in_words(study, run, tmp_path):
    hostile.write_sealed(run.path / "record.json", {**run.header, "spec": {"task": "x", "method": "y"}})
    with pytest.raises(DamagedRecord, match="is intact but not as this version writes it"):
        export.to("optuna", study, tmp_path / "out")


def test_the_index_of_a_study_is_not_written_through_a_link(study, tmp_path, monkeypatch):
    from petl_study.store import index

    monkeypatch.setattr(index, "FEW", 0)
    (tmp_path / "outside").mkdir()
    (study / ".index").symlink_to(tmp_path / "outside")
    assert len(Study(study).entries("run")) == 1
    assert not list((tmp_path / "outside").iterdir())
    (study / ".index").unlink()
    assert len(Study(study).entries("run")) == 1
    assert (study / ".index").is_dir()  # it would have been written
