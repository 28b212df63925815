"""Names in, tasks out: listing, metadata, caching and what is said about names that do not exist."""

import subprocess
import sys

import numpy as np
import pytest

from petl_study import tasks
from petl_study.errors import InputError
from petl_study.tasks import Split, Task, TaskInfo


def part(*ids, label=0):
    return Split(np.zeros((len(ids), 2, 2, 3), np.uint8), np.full(len(ids), label), np.array(ids, dtype=str))


def tiny(**changes):
    given = {"train": part("a"), "val": part("b"), "test": part("c"), **changes}
    return Task("tiny", "natural", ("zero", "one"), "for tests", **given)


def test_tasks_are_listed_by_name():
    assert tasks.list_tasks() == sorted(tasks.list_tasks())
    assert {"cells", "count", "digits", "letters", "orientation", "textures"} <= set(tasks.list_tasks())


def test_a_task_is_made_once():
    assert tasks.load("digits") is tasks.load("digits")


def test_metadata_need_neither_images_nor_torch():
    code = (
        "import sys; from petl_study import tasks; [tasks.info(n) for n in tasks.list_tasks()];"
        "from petl_study.tasks import _registry; assert _registry._load.cache_info().currsize == 0;"
        "assert not {'torch', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("ask", [tasks.info, tasks.load])
def test_an_unknown_task_is_answered_with_the_known_and_the_nearest(ask):
    with pytest.raises(InputError, match=r"unknown task 'digit'; known: cells, .*textures.* Did you mean 'digits'\?"):
        ask("digit")


def test_an_unknown_split_is_answered_with_those_there_are():
    with pytest.raises(InputError, match=r"'digits' has no split 'dev'; it has train, val, trainval, test and"):
        tasks.load("digits").split("dev")
    with pytest.raises(InputError, match=r"'tiny' has no split 'blur:1'; it has .* and no shift sets"):
        tiny().split("blur:1")


def test_a_name_is_registered_once():
    with pytest.raises(ValueError, match="two tasks are called 'digits'"):
        tasks.register(tasks.info("digits"))(lambda: (part(), part(), part()))


def test_an_unknown_group_is_refused():
    with pytest.raises(InputError, match="task 'x': unknown group 'nature'; known: natural, specialized, structured"):
        TaskInfo("x", "nature", ("a",), "for tests")


def test_labels_outside_the_classes_are_refused():
    with pytest.raises(InputError, match="test: labels 2 to 2, but 2 classes: labels must run from 0 to 1"):
        tiny(test=part("c", label=2))


def test_ids_shared_by_splits_are_refused():
    with pytest.raises(InputError, match="uses 1 ids more than once, such as 'a'"):
        tiny(val=part("a"))


def test_the_fingerprint_sees_images_labels_and_ids():
    image = part("c")
    image.images[0, 0, 0, 0] = 1
    changed = [tiny(test=image), tiny(test=part("c", label=1)), tiny(test=part("d"))]
    assert tiny().fingerprint == tiny().fingerprint
    assert len({tiny().fingerprint, *(t.fingerprint for t in changed)}) == 4
