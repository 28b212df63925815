"""Data sets that timm's `create_dataset` makes, by its names: ``torch/cifar100``, ``hfds/dpdl-benchmark/sun397`` ...

    torch/<name>      torchvision's cifar10, cifar100, mnist, kmnist, fashion_mnist and places365, in DATA
    hfds/<name>       of the Hugging Face hub, from what `datasets` keeps in DATA, with columns image and label
    tfds/<name>       of TensorFlow Datasets, prepared in DATA
    wds/<folder>      shards of a WebDataset in DATA/<folder>, with the info.json that timm reads

Tested on is the set's test split, or its validation split where it has none with labels, whole; trained and validated
on is its train split, a fifth of every class of it for validation, drawn by the examples' numbers. Of a set that is one
train split (RESISC45 of TensorFlow Datasets) a fifth of every class is tested on first. VTAB-1K's rule, 800 to train on
and 200 to validate on, is then ``torch/cifar100: {examples: 1000}``.

Nothing is downloaded: a study that fetches data when it starts is another study tomorrow. What is missing is named,
with what fetches it. The fingerprint is over pixels and labels. Of `torch` and `hfds`, images are read when they are
needed and, through a view, kept in the cache like image files. `tfds` and `wds` know no way but from the first to the
last, so that theirs are held in memory, up to `HELD_BYTES` of pixels a split.

CIFAR's published files are Python pickles. torchvision opens them only if they have the published MD5, which no one can
give a file of their own; no other pickle is read, and no data set's own code is run (`trust_remote_code` is off).
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from petl_study import places
from petl_study.errors import InputError, unknown
from petl_study.images import AS_IS, BadImage, Files, View, read, seen
from petl_study.tasks._base import Split, Task
from petl_study.tasks._held_out import held_out
from petl_study.tasks._registry import Loader, register_loader

HELD_BYTES = 4 * 2**30
TESTED_ON = ("test", "validation", "val", "valid")  # the first that there is

_TORCHVISION = ("cifar10", "cifar100", "fashion_mnist", "kmnist", "mnist", "places365")
_PACKAGE = {"hfds": "datasets", "tfds": "tensorflow_datasets", "wds": "webdataset"}
_FETCH = {
    "torch": "python -c \"import timm; timm.data.create_dataset('{data}', '{root}', split='train', download=True)\"",
    "hfds": "python -c \"import datasets; datasets.load_dataset('{name}', cache_dir='{root}')\"",
    "tfds": "tfds build {name} --data_dir {root}",
    "wds": "copy its shards and its info.json there",
}

Give = Callable[[int], Image.Image | BinaryIO]  # the number of an example -> its image, decoded or not


@dataclass(frozen=True)
class Pictures(Files):
    """Images that a data set gives, treated as files that only it can open; `root` and `paths` are how it is called.

    Attributes
    ----------
    give : callable
    rows : tuple of int
        Their numbers in the data set.
    of : str
        What tells the data set's content apart from another's under the same name.
    """

    give: Give = field(kw_only=True, compare=False, repr=False)
    rows: tuple[int, ...] = field(kw_only=True, repr=False)
    of: str = field(kw_only=True)

    def take(self, index: NDArray[np.int64]) -> Pictures:
        paths, rows = tuple(self.paths[i] for i in index), tuple(self.rows[i] for i in index)
        return Pictures(self.root, paths, give=self.give, rows=rows, of=self.of)

    def read(self, i: int, view: View) -> NDArray[np.uint8]:
        try:
            given = self.give(self.rows[i])
            if isinstance(given, Image.Image):
                return seen(given.copy(), view)  # of what may be held for all, and given again
        except (OSError, ValueError) as error:
            raise BadImage(f"the data set does not give it ({error})") from None
        with given:
            return read(given, view)

    def _sha256(self, i: int) -> str:
        try:
            pixels = self.read(i, AS_IS)
        except BadImage:
            return ""
        return hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest()

    def _key(self) -> str:
        return hashlib.sha256("\n".join([self.of, *self.paths]).encode()).hexdigest()


@dataclass(frozen=True)
class Given:
    """What a split of a data set has: images by number, a label each, names of classes (if any), and what it is of."""

    give: Give
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    of: str


def load(prefix: str, name: str) -> Task:
    """The task that timm's data set ``prefix/name`` is.

    Raises
    ------
    InputError
        timm knows no such set, a package for it is not installed, it is not on this machine, or it has no test split or
        no labels; the message names the set and says how to fetch it.
    """
    data = f"{prefix}/{name}"
    if prefix == "torch" and name not in _TORCHVISION:
        error = unknown("data set of torchvision", name, _TORCHVISION)
        raise InputError(f"{error} A directory of images is a task by its own name, such as folder:pets.")
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise InputError(f"{data} leads out of the data directory {places.here().data}.")
    made = _made(data, "train")
    given = _given(data, "train", made)
    rest = _split(data, "train", given)
    if _is_one_split(made):
        tested_on = "train, of which a fifth is held out"
        rest, test = held_out(rest)
    else:
        tested_on, found = _tested_on(data)
        test = _split(data, tested_on, found)
    count = max(given.labels.max(), test.labels.max()) + 1
    classes = given.names or tuple(f"class {label}" for label in range(count))
    train, val = held_out(rest)
    summary = f"timm's data set {data}, tested on its {tested_on}"
    return Task(Path(name).name, "natural", classes, summary, train, val, test)


def _split(data: str, split: str, given: Given) -> Split:
    numbers = range(len(given.labels))
    ids = tuple(f"{split}/{i:07d}" for i in numbers)
    return Split(
        Pictures(Path(data), ids, give=given.give, rows=tuple(numbers), of=given.of), given.labels, np.array(ids)
    )


# ------------------------------------------------------------------------------------------------------ what timm makes


def _tested_on(data: str) -> tuple[str, Given]:
    """The split to test on, and what it has: the first that is there and has labels, as some have not."""
    errors: list[InputError] = []
    for split in TESTED_ON:
        try:
            return split, _given(data, split, _made(data, split))
        except InputError as error:
            errors.append(error)
    raise next((error for error in errors if not isinstance(error, places.Missing)), errors[0])


def _is_one_split(made: Any) -> bool:
    """Whether the set says itself which splits it has, and none of them is to be tested on."""
    reader = getattr(made, "reader", None)
    info = getattr(getattr(reader, "builder", getattr(reader, "dataset", None)), "info", None)
    splits = getattr(info, "splits", None)
    return splits is not None and len(splits) > 0 and set(splits).isdisjoint(TESTED_ON)


def _made(data: str, split: str) -> Any:
    prefix, _, name = data.partition("/")
    if prefix in _PACKAGE and importlib.util.find_spec(_PACKAGE[prefix]) is None:
        package = _PACKAGE[prefix].replace("_", "-")
        raise InputError(f"{data} needs {package}, which is not installed: pip install {package}")
    from timm.data import create_dataset  # type: ignore[attr-defined]  # imports torch: not for who only names tasks

    root = places.folder(name) if prefix == "wds" else places.here().data
    try:
        with _offline(prefix):
            return create_dataset(data, str(root), split=split, download=False)
    except Exception as error:  # timm asserts, and every package behind it has errors of its own
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise places.Missing(
            f"{data}: its split {split!r} cannot be read in {root} ({said}). Nothing is downloaded here. To fetch it:"
            f" {_FETCH[prefix].format(data=data, name=name, root=root)}"
        ) from None


@contextmanager
def _offline(prefix: str) -> Iterator[None]:
    """Keep Hugging Face's packages, which ask the hub first even for what is here, from the network."""
    modules = ("datasets.config", "huggingface_hub.constants") if prefix == "hfds" else ()
    found = [importlib.import_module(module) for module in modules]
    before = [module.HF_HUB_OFFLINE for module in found]
    try:
        for module in found:
            module.HF_HUB_OFFLINE = True  # type: ignore[attr-defined]
        yield
    finally:
        for module, value in zip(found, before, strict=True):
            module.HF_HUB_OFFLINE = value  # type: ignore[attr-defined]


# ----------------------------------------------------------------------------------------------------- what a set gives


def _given(data: str, split: str, made: Any) -> Given:
    given = _BY_PREFIX[data.partition("/")[0]](data, made)
    if len(given.labels) == 0 or given.labels.min() < 0:
        lacking = "no labels" if len(given.labels) else "no examples"
        raise InputError(f"{data}: its split {split!r} has {lacking}, and nothing can be learned or measured of it.")
    return given


def _of_torchvision(_: str, made: Any) -> Given:
    content = hashlib.sha256()
    if hasattr(made, "data"):  # all images of one size, in memory
        content.update(np.ascontiguousarray(made.data).tobytes())
    else:
        for path, _ in made.imgs:
            stat = Path(path).stat()
            content.update(f"{path}\t{stat.st_size}\t{stat.st_mtime_ns}\n".encode())
    labels = np.array([int(label) for label in made.targets], dtype=np.int64)
    return Given(lambda i: made[i][0], labels, tuple(map(str, made.classes)), content.hexdigest())


def _of_hub(_: str, made: Any) -> Given:
    # From the reader: the data set itself gives the next image in the place of one that it cannot read.
    reader = made.reader
    labels = np.array([int(label) for label in reader.iter_targets()], dtype=np.int64)
    return Given(lambda i: reader[i][0], labels, tuple(reader.class_to_idx), str(reader.dataset._fingerprint))


def _in_order(data: str, made: Any) -> Given:
    images: list[Image.Image] = []
    labels: list[int] = []
    content, taken = hashlib.sha256(), 0
    for image, label in made:
        taken += 3 * image.width * image.height
        if taken > HELD_BYTES:
            raise InputError(
                f"{data}: its images take more than {HELD_BYTES / 2**30:g} GiB, and as they are read in order they must"
                " be held in memory. Write them into folders named after their classes, and use folder:PATH."
            )
        content.update(f"{image.size}".encode() + np.asarray(image).tobytes())
        images.append(image)
        labels.append(int(label))
    return Given(
        images.__getitem__, np.array(labels, dtype=np.int64), tuple(made.reader.class_to_idx), content.hexdigest()
    )


_BY_PREFIX: dict[str, Callable[[str, Any], Given]] = {
    "torch": _of_torchvision,
    "hfds": _of_hub,
    "tfds": _in_order,
    "wds": _in_order,
}

for _prefix, _example in {
    "torch": "torch/cifar100",
    "hfds": "hfds/user/name",
    "tfds": "tfds/name",
    "wds": "wds/folder",
}.items():
    register_loader(
        Loader(
            f"{_prefix}/",
            partial(load, _prefix),
            example=_example,
            summary=f"a data set that timm makes through {'torchvision' if _prefix == 'torch' else _PACKAGE[_prefix]}",
        )
    )
