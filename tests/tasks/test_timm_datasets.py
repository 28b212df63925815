"""timm's data sets, of those that need no network: MNIST's files as published, and sets kept by `datasets`."""

from __future__ import annotations

import importlib.util
import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import pictures
from petl_study import places, tasks
from petl_study.errors import InputError
from petl_study.images import AS_IS, View
from petl_study.tasks import Source, timm_datasets

TRAIN, TEST = 40, 12


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "_here", [places.Places(data=tmp_path, cache_gb=0)])
    return tmp_path


def digits(n, seed):
    labels = (np.arange(n) % 10).astype(np.uint8)
    return np.random.default_rng(seed).integers(0, 255, (n, 28, 28)).astype(np.uint8), labels


def write_mnist(root, seed=0):
    """The four files of MNIST: a header of sizes, big-endian, and bytes."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for name, n, of in (("train", TRAIN, seed), ("t10k", TEST, seed + 1)):
        images, labels = digits(n, of)
        (raw / f"{name}-images-idx3-ubyte").write_bytes(np.array([2051, n, 28, 28], ">i4").tobytes() + images.tobytes())
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(np.array([2049, n], ">i4").tobytes() + labels.tobytes())
    return root


def test_a_set_of_torchvision_is_tested_on_whole_and_a_fifth_of_the_rest_validated_on(data):
    task = tasks.load("torch/mnist") if write_mnist(data) else None
    assert (task.name, task.group, [len(s) for s in (task.train, task.val, task.test)]) == (
        "mnist",
        "natural",
        [30, 10, 12],
    )
    assert task.classes[7] == "7 - seven"
    images, labels = digits(TEST, 1)
    test = task.split("test")
    np.testing.assert_array_equal(test.pixels[:], np.repeat(images[..., None], 3, axis=-1))
    np.testing.assert_array_equal(test.labels, labels)
    assert test.ids[3] == "test/0000003"
    images, labels = digits(TRAIN, 0)
    train = task.split("trainval")
    rows = [int(str(one).split("/")[1]) for one in train.ids]
    np.testing.assert_array_equal(train.pixels[:][..., 1], images[rows])
    np.testing.assert_array_equal(train.labels, labels[rows])
    assert task.split("test", View("direct", 14)).pixels.shape == (12, 14, 14, 3)


def test_vtabs_rule_is_a_number_of_examples(data):
    write_mnist(data)
    task = tasks.load(Source.model_validate({"torch/mnist": {"examples": 20}}))
    assert (task.name, [len(s) for s in (task.train, task.val, task.test)]) == ("mnist@20", [16, 4, 12])


def test_the_fingerprint_is_of_pixels(data, tmp_path_factory, monkeypatch):
    def fingerprint(seed):
        root = write_mnist(tmp_path_factory.mktemp("mnist"), seed)
        monkeypatch.setattr(places, "_here", [places.Places(data=root, cache_gb=0)])
        return tasks.load("torch/mnist").fingerprint

    assert fingerprint(0) == fingerprint(0) != fingerprint(5)


def test_pictures_go_through_the_cache_of_files(data, tmp_path, monkeypatch):
    write_mnist(data)
    made = places.Places(data=data, cache=tmp_path / "cache", cache_gb=1.0)
    monkeypatch.setattr(places, "_here", [made])
    pixels = tasks.load("torch/mnist").split("test", View("direct", 14)).pixels
    assert isinstance(pixels, np.memmap)
    monkeypatch.setattr(timm_datasets.Pictures, "read", None)  # what is in the cache is not read again
    again = places.Places(data=data, cache=tmp_path / "cache", cache_gb=1.5)  # of other places, another task in memory
    monkeypatch.setattr(places, "_here", [again])
    np.testing.assert_array_equal(tasks.load("torch/mnist").split("test", View("direct", 14)).pixels, pixels)


def test_what_was_replaced_is_read_again(data, tmp_path, monkeypatch):
    seen = []
    for seed, gb in ((0, 1.0), (5, 1.5)):
        write_mnist(data, seed)
        monkeypatch.setattr(places, "_here", [places.Places(data=data, cache=tmp_path / "cache", cache_gb=gb)])
        seen.append(tasks.load("torch/mnist").split("test", View("direct", 14)).pixels[:])
    assert (seen[0] != seen[1]).any()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "torch/cifar100",
            r"torch/cifar100: its split 'train' cannot be read in .*not found.*Nothing is downloaded.*Tru",
        ),
        (
            "torch/cifar1000",
            r"unknown data set of torchvision 'cifar1000'; known: cifar10.*Did you mean 'cifar100'.*folder:",
        ),
        ("torch/image_folder", r"unknown data set of torchvision 'image_folder'.*folder:pets"),
        ("hfds/../secret", r"hfds/\.\./secret leads out of the data directory"),
        ("tfds//etc", r"tfds//etc leads out of"),
    ],
)
def test_what_is_not_here_is_told_with_how_to_fetch_it(data, name, told):
    with pytest.raises(InputError, match=told):
        tasks.load(name)


def test_an_altered_pickle_is_not_opened(data):
    """CIFAR's batches are pickles: any but the published ones must stay closed."""
    folder = data / "cifar-10-batches-py"
    folder.mkdir()
    for name in (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch", "batches.meta"):
        (folder / name).write_bytes(b"cposix\nsystem\n(S'touch opened'\ntR.")
    with pytest.raises(InputError, match=r"torch/cifar10: .*corrupted"):
        tasks.load("torch/cifar10")
    assert not list(data.glob("**/opened"))


@pytest.mark.parametrize(
    ("prefix", "package"), [("hfds", "datasets"), ("tfds", "tensorflow_datasets"), ("wds", "webdataset")]
)
def test_a_package_that_is_missing_is_named(data, prefix, package, monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else there(name))
    with pytest.raises(InputError, match=rf"{prefix}/x needs {package.replace('_', '-')}, .*pip install"):
        tasks.load(f"{prefix}/x")


class InOrder:
    """What timm makes of TensorFlow's sets: images and labels, from the first to the last."""

    class reader:  # noqa: N801
        class_to_idx = {"cat": 0, "dog": 1}  # noqa: RUF012

    def __init__(self, n, label=lambda i: i % 2):
        self.n, self.label = n, label

    def __iter__(self):
        return ((Image.fromarray(pictures.image(i, 6 + i, 9)), self.label(i)) for i in range(self.n))


@pytest.fixture
def tensorflow(data, monkeypatch):
    """Splits by name; asking for another raises, as timm does in its own ways."""
    splits = {"train": InOrder(10), "validation": InOrder(4)}

    def create(name, root, split, download):
        assert (name, root, download) == ("tfds/pets", str(data), False)
        return splits[split]

    monkeypatch.setattr("timm.data.create_dataset", create)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    return splits


def test_without_a_test_split_the_validation_split_is_tested_on(tensorflow):
    task = tasks.load("tfds/pets")
    assert "tested on its validation" in task.summary
    assert (task.classes, len(task.test)) == (("cat", "dog"), 4)
    assert task.test.ids[0] == "validation/0000000"
    seen = task.split("test", View("direct", 6)).pixels
    np.testing.assert_array_equal(seen[0], View("direct", 6)(Image.fromarray(pictures.image(0, 6, 9))))
    tensorflow["test"] = InOrder(2)
    places.use(places.Places(data=places.here().data, cache_gb=0, on_bad_image="skip"))  # of other places, loaded anew
    assert len(tasks.load("tfds/pets").test) == 2


def test_images_that_a_set_gives_decoded_come_out_as_those_of_files(tensorflow):
    upright = pictures.image(3, 6, 9)
    stored = Image.fromarray(np.ascontiguousarray(upright.transpose(1, 0, 2)[::-1]))
    exif = stored.getexif()
    exif[0x0112] = 6
    stored.save(file := io.BytesIO(), "PNG", exif=exif)
    stored = Image.open(file).convert("RGB")  # as decoders hand it on
    deep = Image.fromarray(upright[..., 0].astype(np.uint16) * 257)

    class Odd(InOrder):
        def __iter__(self):
            return iter([(stored, 0), (deep, 1)])

    tensorflow["validation"] = Odd(2)
    for _ in range(2):  # what is held is not turned once more
        first, second = (tasks.load("tfds/pets").test.images.read(i, AS_IS) for i in range(2))
        np.testing.assert_array_equal(first, upright)
        np.testing.assert_array_equal(second, np.repeat(upright[..., :1], 3, axis=2))


def test_a_test_split_without_labels_is_passed_over(tensorflow):
    tensorflow["test"] = InOrder(3, lambda i: -1)
    assert "tested on its validation" in tasks.load("tfds/pets").summary


def test_of_a_set_of_one_split_a_fifth_is_tested_on_and_a_fifth_of_the_rest_validated_on(tensorflow, monkeypatch):
    monkeypatch.setattr(InOrder.reader, "builder", SimpleNamespace(info=SimpleNamespace(splits={"train": 20})), False)
    tensorflow["train"] = InOrder(20)
    del tensorflow["validation"]
    task = tasks.load("tfds/pets")
    assert "tested on its train, of which a fifth is held out" in task.summary
    assert [np.bincount(part.labels).tolist() for part in (task.train, task.val, task.test)] == [[7, 7], [1, 1], [2, 2]]
    assert len({*task.train.ids, *task.val.ids, *task.test.ids}) == 20
    # A test split that is there and cannot be read is no reason to make another.
    monkeypatch.setattr(InOrder.reader.builder.info, "splits", {"train": 20, "test": 4})
    places.use(places.Places(data=places.here().data, cache_gb=0, on_bad_image="skip"))  # of other places, loaded anew
    with pytest.raises(InputError, match=r"its split 'test' cannot be read"):
        tasks.load("tfds/pets")


def test_sets_without_labels_or_too_large_to_hold_are_refused(tensorflow, monkeypatch):
    tensorflow["validation"] = InOrder(3, lambda i: -1)
    with pytest.raises(InputError, match="tfds/pets: its split 'validation' has no labels"):
        tasks.load("tfds/pets")
    tensorflow["validation"] = InOrder(0)
    with pytest.raises(InputError, match="tfds/pets: its split 'validation' has no examples"):
        tasks.load("tfds/pets")
    monkeypatch.setattr(timm_datasets, "HELD_BYTES", 1000)
    with pytest.raises(InputError, match=r"tfds/pets: its images take more than .* Write them into folders"):
        tasks.load("tfds/pets")
    del tensorflow["validation"]
    monkeypatch.setattr(timm_datasets, "HELD_BYTES", 10**9)
    with pytest.raises(InputError, match=r"tfds/pets: its split 'test' cannot be read .*tfds build pets --data_dir"):
        tasks.load("tfds/pets")


def test_a_set_of_the_hub_is_read_from_what_is_kept_here(data, monkeypatch):
    datasets = pytest.importorskip("datasets")
    from huggingface_hub import constants

    monkeypatch.chdir(data)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    for split, n in (("train", 10), ("test", 4)):
        rows = {"image": [], "label": []}
        for i in range(n):
            file = io.BytesIO()
            Image.fromarray(pictures.image(i, 7, 9)).save(file, "PNG")
            rows["image"].append({"bytes": file.getvalue() if (split, i) != ("test", 2) else b"no image", "path": None})
            rows["label"].append(i % 2)
        (data / "pets").mkdir(exist_ok=True)
        datasets.Dataset.from_dict(rows, features).to_parquet(data / "pets" / f"{split}-00000.parquet")
    monkeypatch.setattr(places, "_here", [places.Places(data=data, cache_gb=0, on_bad_image="skip")])
    task = tasks.load("hfds/pets")
    assert (task.classes, [len(s) for s in (task.train, task.val, task.test)]) == (("cat", "dog"), [8, 2, 4])
    test = task.split("test", View("direct", 6))
    assert test.ids.tolist() == ["test/0000000", "test/0000001", "test/0000003"]
    assert list(test.skipped) == ["test/0000002"]
    np.testing.assert_array_equal(test.pixels[2], View("direct", 6)(Image.fromarray(pictures.image(3, 7, 9))))
    assert not constants.HF_HUB_OFFLINE
    with pytest.raises(
        InputError, match=r"hfds/nobody/nothing: its split 'train' cannot .*load_dataset\('nobody/nothing'"
    ):
        tasks.load("hfds/nobody/nothing")


def test_nothing_asks_the_hub_while_timm_makes_a_set(data, monkeypatch):
    pytest.importorskip("datasets")
    from huggingface_hub import constants

    def create(*arguments, **keywords):
        raise RuntimeError(json.dumps(constants.HF_HUB_OFFLINE))

    monkeypatch.setattr("timm.data.create_dataset", create)
    with pytest.raises(InputError, match=r"\(true\)"):
        tasks.load("hfds/pets")
    assert not constants.HF_HUB_OFFLINE
