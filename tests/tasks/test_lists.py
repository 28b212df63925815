"""Lists of images and folders of classes: what is taken, and what is refused with its line."""

from __future__ import annotations

import numpy as np
import pytest

import pictures
from petl_study.errors import InputError
from petl_study.tasks._lists import class_folders, read_folders, read_list, read_names, require_labels


def listed(tmp_path, content, name="test.txt"):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_list(tmp_path, name)


def test_a_line_is_a_path_and_a_label(tmp_path):
    split = listed(tmp_path, "images/b.jpg 2\nimages/a b.jpg 0\n")
    assert split.ids.tolist() == ["images/b.jpg", "images/a b.jpg"]
    assert split.labels.tolist() == [2, 0]
    assert split.labels.dtype == np.int64
    assert split.images.where(1) == f"{tmp_path}/images/a b.jpg (test.txt, line 2)"


@pytest.mark.parametrize(
    "content",
    [
        "a.jpg 1\nb.jpg 0",
        "a.jpg 1\r\nb.jpg 0\r\n",
        "\n\na.jpg   1  \n\n  b.jpg 0\n\n",
        "\ufeffa.jpg 1\nb.jpg 0\n",
        "./a.jpg 1\n.//b.jpg 0\n",
    ],
)
def test_line_ends_blank_lines_and_spellings_do_not_matter(content, tmp_path):
    split = listed(tmp_path, content)
    assert (split.ids.tolist(), split.labels.tolist()) == (["a.jpg", "b.jpg"], [1, 0])


@pytest.mark.parametrize(
    "line", ["b.jpg", "b.jpg -1", "b.jpg 1.0", "b.jpg one", "b.jpg\t1", "1", "b\0.jpg 1", "b.jpg ²", ". 1"]
)
def test_any_other_line_is_refused_by_number(line, tmp_path):
    with pytest.raises(InputError, match=r"test\.txt, line 2: .* is not a path, a space and a label"):
        listed(tmp_path, f"a.jpg 0\n{line}\n")


@pytest.mark.parametrize("label", ["100000", "9" * 30, "9" * 5000])
def test_a_label_that_cannot_be_is_refused(label, tmp_path):
    with pytest.raises(InputError, match=r"line 1: label \d+ is too large"):
        listed(tmp_path, f"a.jpg {label}\n")


@pytest.mark.parametrize("path", ["/etc/a.jpg", "../a.jpg", "images/../../a.jpg", ".."])
def test_no_path_leads_out(path, tmp_path):
    with pytest.raises(InputError, match=r"line 1: .* leads out of .*; paths are relative to it"):
        listed(tmp_path, f"{path} 0\n")


@pytest.mark.parametrize("other", ["a/b.jpg", "./a/b.jpg", "a//b.jpg"])
def test_an_image_is_listed_once(other, tmp_path):
    with pytest.raises(InputError, match=r"line 3: .* is listed before, in line 1"):
        listed(tmp_path, f"a/b.jpg 0\nc.jpg 1\n{other} 0\n")


def test_lists_that_are_missing_empty_or_no_text_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"test\.txt cannot be read as a list: No such file"):
        read_list(tmp_path, "test.txt")
    with pytest.raises(InputError, match=r"test\.txt lists no images"):
        listed(tmp_path, "\n \n")
    with pytest.raises(InputError, match="it is not UTF-8"):
        listed(tmp_path, b"\xff\xfe\x00")


def test_labels_beyond_the_classes_are_told_with_their_line(tmp_path):
    split = listed(tmp_path, "a.jpg 1\nb.jpg 7\nc.jpg 8\n")
    with pytest.raises(InputError, match=r"b\.jpg \(test\.txt, line 2\): label 7, but there are 7 .* 2 of 3 lines"):
        require_labels(split, 7)
    require_labels(split, 9)


def test_classes_are_named_line_by_line(tmp_path):
    assert read_names(tmp_path) is None
    (tmp_path / "classes.txt").write_text("cat\n big dog \n\n")
    assert read_names(tmp_path) == ("cat", "big dog")


@pytest.mark.parametrize(
    "content,told", [("cat\n\ndog", "line 2: the line is empty"), ("a\nb\na", "line 3: 'a' is in line 1")]
)
def test_names_that_would_shift_or_confuse_labels_are_refused(content, told, tmp_path):
    (tmp_path / "classes.txt").write_text(content)
    with pytest.raises(InputError, match=told):
        read_names(tmp_path)


def test_folders_are_classes_and_images_lie_as_deep_as_they_like(tmp_path):
    pictures.write_classes(tmp_path, {"cat": 2, "ant": 1})
    pictures.write(tmp_path / "cat" / "deep" / "er" / "x.JPG")
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").touch()
    assert class_folders(tmp_path) == ("ant", "cat")
    split = read_folders(tmp_path, "", ("cat", "ant"))
    assert split.ids.tolist() == ["ant/000.png", "cat/000.png", "cat/001.png", "cat/deep/er/x.JPG"]
    assert split.labels.tolist() == [1, 0, 0, 0]


def test_what_is_hidden_is_no_class_and_no_image(tmp_path):
    pictures.write_classes(tmp_path, {"cat": 1, ".ipynb_checkpoints": 1})
    pictures.write(tmp_path / "cat" / "._000.png")
    pictures.write(tmp_path / "cat" / ".thumbs" / "000.png")
    assert class_folders(tmp_path) == ("cat",)
    assert read_folders(tmp_path, "", ("cat",)).ids.tolist() == ["cat/000.png"]


def test_links_are_followed_once_and_those_that_lead_nowhere_do_not_disappear(tmp_path):
    pictures.write_classes(tmp_path, {"cat": 1})
    (tmp_path / "cat" / "again").symlink_to(tmp_path / "cat")
    (tmp_path / "cat" / "gone.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "cat" / "loop.jpg").symlink_to("loop.jpg")
    split = read_folders(tmp_path, "", ("cat",))
    assert split.ids.tolist() == ["cat/000.png", "cat/gone.jpg", "cat/loop.jpg"]
    assert list(split.images.unreadable()) == [1, 2]


def test_folders_that_are_no_class_are_refused(tmp_path):
    pictures.write_classes(tmp_path, {"cat": 1, "cow": 1, "dog": 1})
    with pytest.raises(InputError, match="has images in cow, dog, which is no class of the task; those are cat, ant"):
        read_folders(tmp_path, "", ("cat", "ant"))


def test_folders_without_images_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds no images \(\.jpg, .* in folders named after classes"):
        read_folders(tmp_path, "", ("cat",))


def test_a_file_name_that_records_could_not_keep_is_refused(tmp_path):
    pictures.write(tmp_path / "cat" / "a\nb.png")
    with pytest.raises(InputError, match="is no text that records can keep"):
        read_folders(tmp_path, "", ("cat",))
