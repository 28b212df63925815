"""Whatever an image is stored as, it comes out as RGB, upright; what is none is told as what it is."""

from __future__ import annotations

import io
import os
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

import pictures
from petl_study.images import AS_IS, BadImage, View, decode, read
from petl_study.images.decode import FORMATS

RGB = pictures.image(0, 4, 6)
GREY = RGB[..., 0]


def saved(path, image, **options):
    image.save(path, **options)
    return path


def why(path):
    with pytest.raises(BadImage) as error:
        read(path, AS_IS)
    return str(error.value)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.ppm", "a.webp", "misnamed.jpg"])
def test_lossless_rgb_comes_out_as_it_was(name, tmp_path):
    kind = {"webp": "WEBP", "jpg": "PNG"}.get(name.partition(".")[2])
    path = saved(tmp_path / name, Image.fromarray(RGB), **({"format": kind} if kind else {}), lossless=True)
    pixels = read(path, AS_IS)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, RGB)


def test_grey_is_repeated(tmp_path):
    pixels = read(saved(tmp_path / "a.png", Image.fromarray(GREY)), AS_IS)
    np.testing.assert_array_equal(pixels, np.repeat(GREY[..., None], 3, axis=2))


def test_black_and_white_is_0_and_255(tmp_path):
    pixels = read(saved(tmp_path / "a.png", Image.fromarray(GREY > 60)), AS_IS)
    np.testing.assert_array_equal(pixels[..., 1], 255 * (GREY > 60))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_dropped_and_what_lies_beneath_shows(mode, tmp_path):
    alpha = np.arange(24, dtype=np.uint8).reshape(4, 6, 1) * 10
    colours = RGB if mode == "RGBA" else GREY[..., None]
    pixels = read(saved(tmp_path / "a.png", Image.fromarray(np.concatenate([colours, alpha], axis=2))), AS_IS)
    np.testing.assert_array_equal(pixels, np.broadcast_to(colours, RGB.shape))


@pytest.mark.parametrize("transparent", [None, 3, bytes([255, 0, 128])])
def test_palettes_are_resolved(transparent, tmp_path):
    indices = np.arange(24, dtype=np.uint8).reshape(4, 6)
    image = Image.fromarray(indices, mode=None).convert("P")
    palette = np.random.default_rng(0).integers(0, 256, (256, 3)).astype(np.uint8)
    image.putpalette(palette.tobytes())
    options = {} if transparent is None else {"transparency": transparent}
    pixels = read(saved(tmp_path / "a.png", image, **options), AS_IS)
    np.testing.assert_array_equal(pixels, palette[np.asarray(image)])


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_of_16_bits_the_upper_8_remain(name, tmp_path):
    deep = np.random.default_rng(0).integers(0, 2**16, (4, 6)).astype(np.uint16)
    pixels = read(saved(tmp_path / name, Image.fromarray(deep)), AS_IS)
    np.testing.assert_array_equal(pixels, np.repeat((deep >> 8)[..., None], 3, axis=2))


def test_16_bits_stored_with_the_large_end_first_are_read_alike(tmp_path):
    deep = np.array([[0x0102, 0xFE01], [0x8000, 0x00FF]], dtype=">u2")
    path = tmp_path / "a.tif"
    image = Image.frombytes("I;16B", (2, 2), deep.tobytes())
    image.save(path)
    np.testing.assert_array_equal(read(path, AS_IS)[..., 0], [[1, 254], [128, 0]])


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_samples_without_an_agreed_range_are_refused(kind, tmp_path):
    path = saved(tmp_path / "a.tif", Image.fromarray(np.ones((4, 6), kind)))
    assert "of no agreed range" in why(path)


def test_cmyk_is_converted_as_pillow_does(tmp_path):
    image = Image.fromarray(RGB).convert("CMYK")
    path = saved(tmp_path / "a.jpg", image, quality=95)
    np.testing.assert_array_equal(read(path, AS_IS), np.asarray(Image.open(path).convert("RGB")))
    assert np.abs(read(path, AS_IS).astype(int) - RGB).mean() < 40  # not the negative


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp"])
def test_images_come_out_upright(orientation, name, tmp_path):
    turned = {
        1: RGB,
        2: RGB[:, ::-1],
        3: RGB[::-1, ::-1],
        4: RGB[::-1],
        5: RGB.transpose(1, 0, 2),
        6: RGB.transpose(1, 0, 2)[::-1],  # stored so; to be turned clockwise
        7: RGB.transpose(1, 0, 2)[::-1, ::-1],
        8: RGB.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    image = Image.fromarray(np.ascontiguousarray(turned))
    exif = image.getexif()
    exif[0x0112] = orientation
    path = saved(tmp_path / name, image, exif=exif, lossless=True)
    np.testing.assert_array_equal(read(path, AS_IS), RGB)


def test_what_cannot_be_turned_is_read_as_it_lies(tmp_path, monkeypatch):
    def fails(*_, **__):
        raise SyntaxError("not a TIFF file")

    monkeypatch.setattr(decode.ImageOps, "exif_transpose", fails)
    np.testing.assert_array_equal(read(pictures.write(tmp_path / "a.png", RGB), AS_IS), RGB)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_does_not_cost_the_image(tmp_path):
    path = saved(tmp_path / "a.jpg", Image.fromarray(RGB), exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xffgarbage")
    assert read(path, AS_IS).shape == RGB.shape


def test_of_an_animation_the_first_frame_is_read(tmp_path):
    frames = [Image.fromarray(pictures.image(k, 4, 6)) for k in range(3)]
    path = saved(tmp_path / "a.webp", frames[0], save_all=True, append_images=frames[1:], lossless=True)
    np.testing.assert_array_equal(read(path, AS_IS), pictures.image(0, 4, 6))
    gif = saved(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    with Image.open(gif) as first:
        np.testing.assert_array_equal(read(gif, AS_IS), np.asarray(first.convert("RGB")))


def test_missing_empty_and_foreign_files_are_told_apart(tmp_path):
    assert why(tmp_path / "none.jpg") == "there is no such file"
    (tmp_path / "empty.jpg").touch()
    assert "it is no image" in why(tmp_path / "empty.jpg")
    assert "it is no image" in why(pictures.write(tmp_path / "text.jpg"))
    assert "Is a directory" in why(tmp_path)
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    assert "symbolic links" in why(tmp_path / "loop.jpg")


def test_what_is_told_of_a_file_does_not_name_it(tmp_path):
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    for name in ("none.jpg", "loop.jpg", "."):
        assert str(tmp_path) not in why(tmp_path / name)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"])
def test_a_file_that_is_cut_off_is_refused(kind, tmp_path):
    whole = io.BytesIO()
    Image.fromarray(pictures.image(0, 64, 64)).save(whole, kind)
    path = tmp_path / "cut"
    path.write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    assert "decoded" in why(path) or "no image" in why(path)


@pytest.mark.filterwarnings("ignore")  # Pillow tells what it passes over
def test_altered_bytes_are_refused_or_read_but_raise_nothing_else(tmp_path):
    rng = np.random.default_rng(0)
    for kind in FORMATS:
        stored = io.BytesIO()
        Image.fromarray(pictures.image(0, 16, 16)).save(stored, kind)
        for trial in range(25):
            content = bytearray(stored.getvalue())
            for place in rng.integers(0, min(len(content), 200), 3):
                content[place] = rng.integers(256)
            path = tmp_path / f"{kind}-{trial}"
            path.write_bytes(content)
            with suppress(BadImage):
                assert read(path, View("direct", 8)).shape == (8, 8, 3)


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    header = b"P6 12000 10000 255\n"
    (tmp_path / "bomb.ppm").write_bytes(header)
    (tmp_path / "vast.ppm").write_bytes(b"P6 1000000 1000000 255\n")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert why(tmp_path / "bomb.ppm") == "12000 x 10000 pixels are more than 89,000,000"
    monkeypatch.undo()
    assert "could be decompression bomb" in why(tmp_path / "vast.ppm")


def test_no_other_program_is_started_for_a_file(tmp_path):
    path = saved(tmp_path / "a.jpg", Image.fromarray(RGB), format="EPS")
    assert "of a format that is not read here (JPEG, PNG" in why(path)


def test_the_memory_that_is_missing_is_no_fault_of_the_image(tmp_path, monkeypatch):
    def exhausted(*_):
        raise MemoryError

    monkeypatch.setattr(decode, "_rgb", exhausted)
    with pytest.raises(MemoryError):
        read(pictures.write(tmp_path / "a.png", RGB), AS_IS)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_told_as_such(tmp_path):
    path = pictures.write(tmp_path / "a.png", RGB)
    path.chmod(0)
    assert "Permission denied" in why(path)
