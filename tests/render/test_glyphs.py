from __future__ import annotations

import hashlib

import numpy as np
import pytest

from petl_study.errors import InputError
from petl_study.render.glyphs import FONTS, HELD_OUT_FONTS, MARGIN, SOURCE_FONTS, glyph_field


def test_every_font_exists_and_is_either_source_or_held_out():
    assert all(path.exists() for path in FONTS.values())
    assert sorted(SOURCE_FONTS + HELD_OUT_FONTS) == sorted(FONTS)
    assert not set(SOURCE_FONTS) & set(HELD_OUT_FONTS)


@pytest.mark.parametrize("font", ["dejavu_sans", "cm_italic", "stix_bold"])
@pytest.mark.parametrize("char", ["8", "W", "g"])
def test_ink_is_centred_and_its_longer_extent_leaves_the_margin(char, font):
    ink = np.argwhere(glyph_field(char, font, 96) > 0)
    low, high = ink.min(axis=0), ink.max(axis=0) + 1
    assert np.abs((low + high) / 2 - 48).max() <= 1
    assert (high - low).max() == pytest.approx(96 * (1 - 2 * MARGIN), abs=2)


def test_the_field_is_a_signed_distance():
    field = glyph_field("R", "dejavu_sans", 96) * 96
    assert np.abs(np.diff(field, axis=1)).max() < 1.001  # one pixel on, the outline is at most one pixel nearer
    # a DejaVu Sans "I" is one upright bar of 201 by 1493 units
    bar = glyph_field("I", "dejavu_sans", 96)
    half_width = (1 - 2 * MARGIN) * 201 / 1493 / 2
    assert bar.max() == pytest.approx(half_width, abs=0.5 / 96)  # the middle falls between two pixels
    assert bar[48, 0] == pytest.approx(half_width - 0.5, abs=0.6 / 96)


def test_counters_are_outside():
    field = glyph_field("O", "dejavu_serif", 64)
    assert field[32, 32] < 0
    assert field[32].max() > 0


def test_fields_are_the_same_bit_for_bit_everywhere():
    fields = [glyph_field(char, font, 32) for char in "3g" for font in ("dejavu_sans_bold", "cm_roman", "stix_italic")]
    digest = hashlib.sha256(b"".join(field.tobytes() for field in fields)).hexdigest()
    assert digest == "7801ed65e29ce8f464dd8ddc160d848ae59a907d3faa043905ce5a18bd9cbf0f"


def test_fields_are_shared_and_so_cannot_be_changed():
    field = glyph_field("A", "stix", 32)
    assert field is glyph_field("A", "stix", 32)
    with pytest.raises(ValueError, match="read-only"):
        field[0, 0] = 1


@pytest.mark.parametrize(
    ("char", "font", "message"),
    [
        ("A", "dejavu_sanz", r"unknown font 'dejavu_sanz'; known: .*Did you mean 'dejavu_sans'\?"),
        ("AB", "stix", "a glyph is one character; got 'AB'"),
        (" ", "stix", "character ' ' of font 'stix' is blank"),
        ("\u3042", "cm_roman", "font 'cm_roman' has no character"),
    ],
)
def test_what_cannot_be_drawn_is_refused(char, font, message):
    with pytest.raises(InputError, match=message):
        glyph_field(char, font)
