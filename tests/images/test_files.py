"""Files in, pixels out: the same from memory, cache and stream, in every process, whatever happens to the cache."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import pictures
from petl_study import places
from petl_study.errors import InputError
from petl_study.images import AS_IS, Files, Lazy, View, cache, files, joined, read, rows

VIEW = View("direct", 8)
GB = 8 * 8 * 3 / 1e9  # of one image of that size


@pytest.fixture
def use(tmp_path, monkeypatch):
    """Say what `places` are, with a cache of the test's own."""
    monkeypatch.setattr(places, "_here", [])

    def change(**changes):
        places.use(replace(places.Places(cache=tmp_path / "cache"), **changes))

    change()
    return change


@pytest.fixture
def pets(tmp_path, use):
    return written(tmp_path / "pets", 6)


def written(root, n, first=0):
    paths = tuple(f"{k}.png" for k in range(n))
    for k, path in enumerate(paths):
        pictures.write(root / path, pictures.image(first + k, 10 + k, 12))
    return Files(root, paths, tuple(f"test.txt, line {k + 1}" for k in range(n)))


def again(files):
    """As another process, or the same one later, would come by them."""
    return Files(files.root, files.paths, files.named)


def expected(files, view=VIEW):
    return np.stack([read(files.root / path, view) for path in files.paths])


def cached(kind="npy"):
    return sorted((places.here().cache / "images").glob(f"*.{kind}"))


def refuse(*_):
    raise AssertionError("decoded again")


# -------------------------------------------------------------------------------------------------------- three ways


@pytest.mark.parametrize("view", [VIEW, View("crop", 8)])
@pytest.mark.parametrize("gb,kind", [(1.0, np.memmap), (0, np.ndarray), (3 * GB, Lazy)])
def test_memory_cache_and_stream_give_the_same_pixels(gb, kind, view, use, pets):
    use(cache_gb=gb)
    images, good, bad = pets.seen(view)
    assert type(images) is kind
    assert (list(good), bad) == (list(range(6)), {})
    np.testing.assert_array_equal(images[:], expected(pets, view))
    np.testing.assert_array_equal(images[np.array([4, 0])], expected(pets, view)[[4, 0]])
    assert images.shape == (6, 8, 8, 3)
    assert bool(cached()) == (kind is np.memmap)


def test_without_a_cache_nothing_is_written_and_each_image_is_decoded_once(use, pets, tmp_path, monkeypatch):
    use(cache_gb=0)
    first = pets.seen(VIEW)[0]
    pets.contents()
    monkeypatch.setattr(files, "read", refuse)
    assert pets.seen(VIEW)[0] is first
    assert not (tmp_path / "cache").exists()


def test_what_was_decoded_once_is_not_decoded_again(pets, monkeypatch):
    pets.seen(VIEW)
    monkeypatch.setattr(files, "read", refuse)
    np.testing.assert_array_equal(again(pets).seen(VIEW)[0], expected(pets))


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_the_number_of_threads_changes_nothing(threads, pets, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: threads)
    np.testing.assert_array_equal(pets.seen(VIEW)[0], expected(pets))
    assert pets.contents() == [files.hashlib.sha256((pets.root / p).read_bytes()).hexdigest() for p in pets.paths]


def test_views_and_lists_of_files_have_entries_of_their_own(pets):
    for view in (VIEW, View("crop", 8), View("direct", 9)):
        pets.seen(view)
    pets.take(np.array([0, 1])).seen(VIEW)
    assert len(cached()) == 4
    np.testing.assert_array_equal(pets.take(np.array([3, 1])).seen(VIEW)[0], expected(pets)[[3, 1]])


def test_images_that_are_not_resized_are_of_one_size(use, pets):
    for gb in (1.0, 0):
        use(cache_gb=gb)
        with pytest.raises(InputError, match=r"1\.png \(test\.txt, line 2\) has 12 x 11 pixels, and those before"):
            again(pets).seen(AS_IS)
    assert cached("*") == cached("lock")


# --------------------------------------------------------------------------------------------------------- bad images


@pytest.fixture
def flawed(pets):
    (pets.root / "0.png").write_bytes(b"")
    pictures.write(pets.root / "2.png")
    (pets.root / "4.png").unlink()
    return pets


def test_bad_images_are_named_with_path_and_line(flawed):
    with pytest.raises(InputError) as error:
        flawed.seen(VIEW)
    told = str(error.value)
    assert told.startswith("3 of 6 images cannot be read:")
    assert f"{flawed.root}/2.png (test.txt, line 3): it is no image" in told
    assert f"{flawed.root}/4.png (test.txt, line 5): there is no such file" in told
    assert told.endswith("give --on-bad-image skip: they are left out, and every run says so.")


def test_many_bad_images_are_counted_and_some_are_named(pets):
    for path in pets.paths:
        (pets.root / path).write_bytes((pets.root / path).read_bytes()[:60])
    pictures.write(pets.root / "3.png", pictures.image(0))
    with pytest.raises(InputError, match=r"10 of 12 images cannot be read:\n(.*\n){5}  and 5 more\nMend"):
        Files(pets.root, pets.paths * 2).seen(VIEW)


@pytest.mark.parametrize("gb", [1.0, 0, 3 * GB])
def test_bad_images_are_skipped_when_that_is_wanted(gb, use, flawed):
    use(cache_gb=gb, on_bad_image="skip")
    for one in (flawed, again(flawed)):
        images, good, bad = one.seen(VIEW)
        assert list(good) == [1, 3, 5]
        assert list(bad) == [0, 2, 4]
        np.testing.assert_array_equal(rows(images, good)[:], expected(flawed.take(good)))


def test_a_list_of_nothing_but_bad_images_is_refused_even_then(use, flawed):
    use(on_bad_image="skip")
    with pytest.raises(InputError, match=r"none of 2 images can be read; the first is .*0\.png"):
        flawed.take(np.array([0, 2])).seen(VIEW)


def test_an_image_that_could_not_be_read_for_a_moment_is_looked_at_again(use, pets, monkeypatch):
    use(on_bad_image="skip")
    decoding = files.read

    def fails_once(path, view):
        if path.name == "2.png":
            raise files.BadImage("it cannot be decoded (Too many open files)")
        return decoding(path, view)

    monkeypatch.setattr(files, "read", fails_once)
    assert list(pets.seen(VIEW)[2]) == [2]
    monkeypatch.undo()
    places.use(replace(places.Places(cache=pets.root.parent / "cache"), on_bad_image="skip"))
    images, good, bad = again(pets).seen(VIEW)
    assert (len(good), bad) == (6, {})
    np.testing.assert_array_equal(images, expected(pets))


def test_a_streamed_image_that_disappears_is_not_taken_for_black(use, pets):
    use(cache_gb=GB)
    images, _, _ = pets.seen(VIEW)
    (pets.root / "3.png").unlink()
    assert images[:3].any()
    with pytest.raises(InputError, match=r"3\.png \(test.*could be read before and now cannot: there is no such file"):
        images[:]


def test_unreadable_images_are_found_whatever_their_size(flawed, use):
    assert list(flawed.unreadable()) == [0, 2, 4]
    assert not cached("*")


# ------------------------------------------------------------------------------------------------- files that change


def replaced(path, pixels):
    """Other content of the same length and the same time of writing."""
    before, content = path.stat(), bytearray(path.read_bytes())
    Image.fromarray(pixels).save(path)
    assert len(path.read_bytes()) == len(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_replaced_files_are_read_again(tmp_path, use):
    pictures.write(tmp_path / "a.bmp", pictures.image(0))
    before = Files(tmp_path, ("a.bmp",))
    old, content = before.seen(VIEW)[0], before.contents()
    replaced(tmp_path / "a.bmp", pictures.image(1))
    after = again(before)
    np.testing.assert_array_equal(after.seen(VIEW)[0][0], pictures.image(1))
    np.testing.assert_array_equal(old[0], pictures.image(0))
    assert after.contents() != content


@pytest.mark.parametrize("gb", [1.0, 0])
def test_files_that_change_under_a_process_stop_it(gb, use, pets):
    use(cache_gb=gb)
    pets.contents()
    pictures.write(pets.root / "1.png", pictures.image(9))
    for look in (lambda: pets.seen(VIEW), pets.contents):
        with pytest.raises(InputError, match="changed while this process used them"):
            look()


def test_contents_that_could_not_be_read_are_not_remembered(flawed):
    assert [bool(content) for content in flawed.contents()] == [True] * 4 + [False, True]
    assert not cached("json")
    (flawed.root / "4.png").symlink_to("5.png")
    assert all(again(flawed).contents())
    assert len(cached("json")) == 1


# ------------------------------------------------------------------------------------------------ a damaged cache


@pytest.mark.parametrize("keep", [0, 40, 200, -1])
def test_an_array_that_was_cut_short_is_made_again(keep, pets):
    pets.seen(VIEW)
    [array] = cached()
    array.write_bytes(array.read_bytes()[:keep])
    np.testing.assert_array_equal(again(pets).seen(VIEW)[0], expected(pets))
    assert type(again(pets).seen(VIEW)[0]) is np.memmap


def test_an_array_of_another_shape_or_kind_is_made_again(pets):
    for wrong in (np.zeros((6, 8, 8, 3), np.float32), np.zeros((5, 8, 8, 3), np.uint8), np.array([{}])):
        pets.seen(VIEW)
        np.save(cached()[0], wrong, allow_pickle=True)
        np.testing.assert_array_equal(again(pets).seen(VIEW)[0], expected(pets))


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"shape": 3, "bad": []}', '{"shape": [1, 8, 8, 3], "bad": {}}']
)
def test_what_is_known_of_an_array_is_made_again_where_it_is_damaged(content, pets):
    pets.seen(VIEW)
    cached("json")[0].write_text(content)
    np.testing.assert_array_equal(again(pets).seen(VIEW)[0], expected(pets))
    assert json.loads(cached("json")[0].read_text()) == {"shape": [6, 8, 8, 3], "bad": {}}


def test_a_removed_cache_does_not_take_the_pixels_away(pets):
    images = pets.seen(VIEW)[0]
    for path in cached("*"):
        path.unlink()
    np.testing.assert_array_equal(images, expected(pets))
    np.testing.assert_array_equal(again(pets).seen(VIEW)[0], expected(pets))


def test_a_removed_array_is_made_again_while_another_has_it_mapped(pets):
    images = pets.seen(VIEW)[0]
    cached()[0].unlink()
    np.testing.assert_array_equal(again(pets).seen(VIEW)[0], images)


@pytest.mark.parametrize("in_the_way", ["cache", "cache/images"])
def test_a_cache_that_cannot_be_written_to_is_told_with_a_remedy(in_the_way, pets, tmp_path):
    (tmp_path / in_the_way).parent.mkdir(exist_ok=True)
    (tmp_path / in_the_way).write_text("a file, no directory")
    for look in (lambda: pets.seen(VIEW), pets.contents):
        with pytest.raises(InputError, match=r"cache/images, cannot be written to .* PETL_STUDY_CACHE, .*--cache-gb"):
            look()


def test_a_full_disk_is_told_and_leaves_nothing(pets, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.Draft, "put", full)
    with pytest.raises(InputError, match=r"cannot be written to \(No space left on device\)"):
        pets.seen(VIEW)
    assert not cached() + cached("writing-*")


def test_a_file_system_without_locks_will_do(pets, monkeypatch):
    def unsupported(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(cache.fcntl, "flock", unsupported)
    np.testing.assert_array_equal(pets.seen(VIEW)[0], expected(pets))
    np.testing.assert_array_equal(again(pets).seen(VIEW)[0], expected(pets))


# -------------------------------------------------------------------------------------------------------------- room


def test_what_was_not_used_for_longest_makes_room(use, tmp_path):
    sets = [written(tmp_path / name, 6, first=10 * k) for k, name in enumerate("abc")]
    use(cache_gb=2.2 * 6 * GB)
    for one in sets[:2]:
        one.seen(VIEW)
    for k, path in enumerate(cached()):
        os.utime(path.with_suffix(".lock"), (k, k))
    oldest = cached()[0].stem
    assert type(sets[2].seen(VIEW)[0]) is np.memmap
    assert oldest not in {path.stem for path in cached("*")}
    assert len(cached()) == 2


def test_use_counts_not_making(use, tmp_path):
    a, b, c = (written(tmp_path / name, 6, first=10 * k) for k, name in enumerate("abc"))
    use(cache_gb=2.2 * 6 * GB)
    a.seen(VIEW)
    first = cached()[0]
    b.seen(VIEW)
    for path in cached("lock"):
        os.utime(path, (1, 1))
    again(a).seen(VIEW)
    c.seen(VIEW)
    assert first in cached()


def test_what_a_process_has_mapped_stays_and_the_rest_is_streamed(use, tmp_path):
    a, b = (written(tmp_path / name, 6, first=10 * k) for k, name in enumerate("ab"))
    use(cache_gb=1.5 * 6 * GB)
    mapped = a.seen(VIEW)[0]
    streamed = b.seen(VIEW)[0]
    assert type(streamed) is Lazy
    np.testing.assert_array_equal(mapped, expected(a))
    np.testing.assert_array_equal(streamed[:], expected(b))
    view = mapped[2:]  # keeps it, as the whole would
    del mapped
    assert type(again(b).seen(VIEW)[0]) is Lazy
    del view
    assert type(again(b).seen(VIEW)[0]) is np.memmap
    assert len(cached()) == 1


def test_nothing_leaves_for_what_cannot_fit_in_the_end(use, tmp_path):
    a, b, c = (written(tmp_path / name, n, first=10 * k) for k, (name, n) in enumerate([("a", 6), ("b", 2), ("c", 6)]))
    use(cache_gb=9 * GB)
    mapped = a.seen(VIEW)[0]
    b.seen(VIEW)
    assert type(c.seen(VIEW)[0]) is Lazy
    assert len(cached()) == 2
    np.testing.assert_array_equal(mapped, expected(a))


def test_more_room_turns_a_stream_into_an_array(use, pets):
    use(cache_gb=GB)
    assert type(pets.seen(VIEW)[0]) is Lazy
    use(cache_gb=1.0)
    assert type(again(pets).seen(VIEW)[0]) is np.memmap


def test_a_stream_is_not_searched_for_bad_images_twice(use, pets, monkeypatch):
    use(cache_gb=GB)
    pets.seen(VIEW)
    monkeypatch.setattr(files, "read", refuse)
    assert again(pets).seen(VIEW)[0].shape == (6, 8, 8, 3)


def test_a_directory_that_holds_other_things_keeps_them(use, tmp_path):
    use(cache=tmp_path / "home", cache_gb=6.5 * GB)
    others = [tmp_path / "home" / "images" / name for name in ("holiday.npy", "a" * 32 + ".jpg", "mine/b.npy")]
    for path in others:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(5000))
    for k in range(3):
        written(tmp_path / str(k), 6, first=10 * k).seen(VIEW)
    assert all(path.exists() for path in others)


# --------------------------------------------------------------------------------------------------------- processes


def elsewhere(code, *arguments):
    """Python in another process."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


LOOK = """
import hashlib, sys, time
from pathlib import Path
from petl_study import places
from petl_study.images import Files, View, files
root, cache, wait = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
places.use(places.Places(cache=cache))
reading, count = files.read, [0]
def slow(path, view):
    if count[0] == 2:
        print("halfway", flush=True)
    count[0] += 1
    time.sleep(wait)
    return reading(path, view)
files.read = slow
images, _, _ = Files(root, tuple(f"{k}.png" for k in range(6))).seen(View("direct", 8))
print(count[0], hashlib.sha256(images.tobytes()).hexdigest(), flush=True)
"""


def test_two_processes_that_want_the_same_make_it_once(pets):
    both = [elsewhere(LOOK, pets.root, places.here().cache, 0.02) for _ in range(2)]
    said = [process.communicate(timeout=60)[0].split()[-2:] for process in both]
    assert sorted(int(decoded) for decoded, _ in said) == [0, 7]  # the first twice, for its size
    assert {digest for _, digest in said} == {files.hashlib.sha256(expected(pets).tobytes()).hexdigest()}


def test_who_waits_for_an_entry_that_is_removed_meanwhile_waits_for_the_next(tmp_path):
    entry = cache.Entry(tmp_path, "a" * 32)
    lock, inside = tmp_path / f"{entry.name}.lock", threading.Event()

    def wait():
        with entry.alone():
            inside.set()

    with lock.open("w") as removed:
        fcntl.flock(removed, fcntl.LOCK_EX)
        waiting = threading.Thread(target=wait)
        waiting.start()
        time.sleep(0.1)
        lock.unlink()
        with entry.alone():
            fcntl.flock(removed, fcntl.LOCK_UN)
            assert not inside.wait(0.2)
    assert inside.wait(10)
    waiting.join()


def test_what_a_killed_process_left_is_swept_and_made_again(pets):
    victim = elsewhere(LOOK, pets.root, places.here().cache, 0.2)
    assert victim.stdout.readline() == "halfway\n"
    deadline = time.monotonic() + 10
    while not cached("writing-*") and time.monotonic() < deadline:
        time.sleep(0.01)
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    assert cached("writing-*")
    assert not cached()
    np.testing.assert_array_equal(pets.seen(VIEW)[0], expected(pets))
    assert not cached("writing-*")


def test_what_a_killed_process_left_of_other_images_makes_room(use, pets, tmp_path):
    left = tmp_path / "cache" / "images" / f"{'0' * 32}.writing-{'1' * 32}"
    left.parent.mkdir(parents=True)
    left.write_bytes(bytes(5000))
    use(cache_gb=6.5 * GB)
    assert type(pets.seen(VIEW)[0]) is np.memmap
    assert not left.exists()


def test_what_another_process_has_mapped_stays_until_it_ends(use, tmp_path):
    a, b = (written(tmp_path / name, 6, first=10 * k) for k, name in enumerate("ab"))
    use(cache_gb=1.5 * 6 * GB)
    reader = elsewhere(LOOK + "sys.stdin.read()", a.root, tmp_path / "cache", 0)
    while reader.stdout.readline().startswith("halfway"):
        pass
    assert type(b.seen(VIEW)[0]) is Lazy
    reader.communicate()
    assert type(again(b).seen(VIEW)[0]) is np.memmap


def test_parts_join_without_being_read(pets):
    part = pets.seen(VIEW)[0]
    both = joined([part, part])
    assert type(both) is Lazy
    np.testing.assert_array_equal(both[np.array([7, 1])], expected(pets)[[1, 1]])
