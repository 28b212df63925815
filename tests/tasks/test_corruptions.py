"""Corruptions: the formulas that were published, the same bits for the same example, and every task has them."""

import colorsys
from io import BytesIO
from itertools import pairwise

import numpy as np
import PIL.Image
import pytest
from scipy import stats

import toy
from petl_study import spec, tasks
from petl_study.errors import InputError
from petl_study.keep import Keep
from petl_study.render.dice import Dice
from petl_study.render.fields import cloud_noise
from petl_study.tasks import corruptions
from petl_study.tasks.corruptions import CORRUPTION_SETS, CORRUPTIONS, SEVERITIES, _pixels, corrupt
from petl_study.tasks.corruptions.blurs import _disc_kernel
from petl_study.tasks.corruptions.weather import _clouds

BLURS = ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur")


def scenes(n, side):
    """Smooth coloured scenes (n, side, side, 3) with the 1/f spectrum of photographs, and their ids."""
    fields = [[cloud_noise(Dice("scene", k, c), side, side / 8) for c in range(3)] for k in range(n)]
    images = np.clip(128 + 50 * np.array(fields), 0, 255).astype(np.uint8)  # (n, 3, side, side)
    return np.ascontiguousarray(np.moveaxis(images, 1, -1)), np.array([f"scene/{k}" for k in range(n)])


@pytest.fixture(scope="module")
def small():
    return scenes(24, 32)


def grey(level, side=64, n=1):
    return np.full((n, side, side, 3), level, np.uint8), np.array([f"grey/{k}" for k in range(n)])


def published(name):
    _, kind, severity = name.split(":")
    return CORRUPTIONS[kind][1][int(severity) - 1]


def distance(images, others):
    """Root mean squared difference of every image, in grey levels: (N,)."""
    return np.sqrt(((images.astype(float) - others) ** 2).mean(axis=(1, 2, 3)))


def sets(*kinds):
    return [name for name in CORRUPTION_SETS if name.split(":")[1] in kinds]


# ------------------------------------------------------------------------------------------------------ all of them


def test_there_are_fifteen_in_five_severities():
    assert len(CORRUPTIONS) == 15
    assert len(CORRUPTION_SETS) == len(set(CORRUPTION_SETS)) == 75


@pytest.mark.parametrize("name", CORRUPTION_SETS)
def test_a_corruption_changes_every_image_and_keeps_its_form(small, name):
    images, ids = small[0][:4], small[1][:4]
    given = images.copy()
    corrupted = corrupt(name, images, ids)
    assert corrupted.dtype == np.uint8
    assert corrupted.shape == images.shape
    assert distance(corrupted, images).min() > 0.5
    np.testing.assert_array_equal(images, given)  # what came in is left alone


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_an_example_is_corrupted_alike_wherever_it_stands(small, kind):
    images, ids = small
    name, order = f"corrupt:{kind}:3", [17, 3, 8]
    np.testing.assert_array_equal(corrupt(name, images[order], ids[order]), corrupt(name, images, ids)[order])


FIXED = {"defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression"}


@pytest.mark.parametrize("kind", sorted(set(CORRUPTIONS) - FIXED))
def test_chance_belongs_to_the_example_and_the_severity(small, kind, monkeypatch):
    image = np.repeat(small[0][:1], 2, axis=0)
    one, other = corrupt(f"corrupt:{kind}:2", image, small[1][:2])
    assert (one != other).any()
    apply, parameters = CORRUPTIONS[kind]
    monkeypatch.setitem(CORRUPTIONS, kind, (apply, parameters[:1] * 5))
    first, second = (corrupt(f"corrupt:{kind}:{severity}", image, small[1][:2]) for severity in (1, 2))
    assert (first != second).any()


UNEVEN = {  # as published, the distance in pixels does not rise from the first of these severities to the next
    "glass_blur": {1},  # two rounds of one pixel, then one of two
    "snow": {2},  # from many small flakes to fewer large ones
    "fog": {3},  # the same thickness in smaller lumps
    "frost": {3, 4},  # hardly more ice, other draws
    "elastic_transform": {2, 3, 4},  # from the whole to its details, which are few here
}


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_severity_takes_an_image_further_from_what_it_was(small, kind):
    means = [distance(corrupt(f"corrupt:{kind}:{severity}", *small), small[0]).mean() for severity in SEVERITIES]
    for severity, (near, far) in enumerate(pairwise(means), start=1):
        assert near < far or severity in UNEVEN.get(kind, ())
    assert kind == "elastic_transform" or means[0] * 1.15 < means[-1]


@pytest.mark.parametrize("shape", [(20, 33), (33, 20), (5, 5), (1, 1), (250, 230)])
def test_images_come_in_any_size(shape):
    images = np.random.default_rng(0).integers(0, 256, (1, *shape, 3), dtype=np.uint8)
    for kind in CORRUPTIONS:
        assert corrupt(f"corrupt:{kind}:5", images, np.array(["x"])).shape == images.shape


# Mean distance in grey levels over the small scenes at severity 3: another value means that stored results are stale.
DISTANCES = {
    "gaussian_noise": 43.718,
    "shot_noise": 48.576,
    "impulse_noise": 41.033,
    "defocus_blur": 6.3,
    "glass_blur": 8.651,
    "motion_blur": 13.625,
    "zoom_blur": 15.964,
    "snow": 78.954,
    "frost": 48.44,
    "fog": 51.581,
    "brightness": 54.821,
    "contrast": 39.881,
    "elastic_transform": 11.273,
    "pixelate": 17.141,
    "jpeg_compression": 22.856,
}


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_corrupted_data_are_what_they_were(small, kind):
    corrupted = corrupt(f"corrupt:{kind}:3", *small)
    assert distance(corrupted, small[0]).mean() == pytest.approx(DISTANCES[kind], abs=0.002)


# ---------------------------------------------------------------------------------------------------- one by one


@pytest.mark.parametrize("name", sets("gaussian_noise"))
def test_gaussian_noise_has_the_published_deviation(name):
    sigma = published(name)
    corrupted = corrupt(name, *grey(128, n=4))
    within = np.abs(corrupted / 255 - 128 / 255) < 0.49
    assert within.mean() == pytest.approx(1 - 2 * stats.norm.sf(0.49 / sigma), abs=0.01)
    if sigma < 0.15:  # the rest is clipped
        assert corrupted.std() / 255 == pytest.approx(sigma, rel=0.02)
        assert corrupted.mean() == pytest.approx(128, abs=1)


@pytest.mark.parametrize("name", sets("shot_noise"))
@pytest.mark.parametrize("level", [0, 64])
def test_shot_noise_is_a_poisson_count(name, level):
    white = published(name)
    corrupted = corrupt(name, *grey(level, n=4))
    counts = np.bincount(np.rint(corrupted.ravel() / 255 * white).astype(int), minlength=white + 1) / corrupted.size
    expected = stats.poisson.pmf(np.arange(white + 1), level / 255 * white)
    expected[-1] += stats.poisson.sf(white, level / 255 * white)
    np.testing.assert_allclose(counts, expected, atol=0.01)


@pytest.mark.parametrize("name", sets("impulse_noise"))
def test_impulse_noise_turns_its_share_black_or_white(name):
    corrupted = corrupt(name, *grey(100, n=4))
    assert set(np.unique(corrupted)) == {0, 100, 255}
    for extreme in (0, 255):
        assert (corrupted == extreme).mean() == pytest.approx(published(name) / 2, rel=0.1)


@pytest.mark.parametrize("name", sets(*BLURS, "contrast", "pixelate", "elastic_transform"))
def test_nothing_happens_to_a_plain_surface(name):
    images, ids = grey(77)
    np.testing.assert_array_equal(corrupt(name, images, ids), images)


@pytest.mark.parametrize("kind", ["defocus_blur", "motion_blur"])
def test_a_blur_keeps_the_light_of_a_point(kind):
    image = np.zeros((1, 64, 64, 3), np.uint8)
    image[0, 30:34, 30:34] = 255
    blurred = corrupt(f"corrupt:{kind}:3", image, np.array(["point"]))
    assert blurred.sum(dtype=int) == pytest.approx(image.sum(dtype=int), rel=0.1)
    assert blurred.max() < 255


def test_out_of_focus_is_the_published_disc_at_224():
    y, x = np.indices((9, 9)) - 4
    disc = (x * x + y * y <= 9).astype(float)
    np.testing.assert_allclose(_disc_kernel(3, 0.1, 1.0), disc / disc.sum(), atol=1e-12)
    half = _disc_kernel(10, 0.5, 0.5)
    assert _spread(half) == pytest.approx(_spread(_disc_kernel(10, 0.5, 1.0)) / 2, rel=0.05)


def _spread(kernel):
    steps = np.arange(len(kernel)) - len(kernel) // 2
    return np.sqrt((kernel.sum(axis=0) * steps**2).sum())


@pytest.mark.parametrize("scale", [0.1, 1 / 7, 0.5, 1.0, 1.7, 3.0])
def test_motion_follows_the_size_of_the_image(scale):
    at_224 = _pixels.motion_kernel(15, 5, 0.0, 1.0)
    kernel = _pixels.motion_kernel(15, 5, 0.0, scale)
    steps, all_steps = (np.arange(len(k)) - len(k) // 2 for k in (kernel, at_224))
    mean, mean_at_224 = (kernel.sum(axis=0) * steps).sum(), (at_224.sum(axis=0) * all_steps).sum()
    assert kernel.sum() == pytest.approx(1)
    assert mean == pytest.approx(scale * mean_at_224, rel=1e-9 if scale <= 1 else 0.02)
    assert kernel.sum(axis=0)[len(steps) // 2 :][: int(30 * scale)].min() > 0  # no gaps between the taps
    assert mean_at_224 == pytest.approx(5 * np.sqrt(2 / np.pi), rel=0.15)  # half a normal distribution, on whole taps


def test_glass_takes_the_neighbours_values():
    images, _ = scenes(1, 224)
    scattered = corruptions.blurs.glass_blur(images[0] / 255, (1e-6, 2, 1), Dice("glass"))
    y, x = np.indices((224, 224))
    nearby = [images[0][np.clip(y + dy, 0, 223), np.clip(x + dx, 0, 223)] for dy in range(-2, 2) for dx in range(-2, 2)]
    scattered = np.rint(scattered * 255)
    assert np.any([(n == scattered).all(axis=-1) for n in nearby], axis=0).all()
    assert 0.02 < (nearby[0] == scattered).all(axis=-1).mean() < 0.2


def test_zooming_leaves_the_centre_and_blurs_the_border():
    images, ids = scenes(4, 65)
    moved = np.abs(corrupt("corrupt:zoom_blur:3", images, ids).astype(float) - images).mean(axis=(0, 3))
    assert moved[32, 32] < 1
    assert moved[:8].mean() > 3 * moved[28:37, 28:37].mean()


@pytest.mark.parametrize("name", sets("snow", "frost"))
def test_snow_and_frost_lay_light_on_the_dark(name):
    dark = corrupt(name, *grey(0, n=6))
    assert dark.mean() > 15
    assert dark.std(axis=(1, 2)).mean() > 5


@pytest.mark.parametrize("name", sets("fog"))
def test_fog_keeps_the_brightest_light_and_spans_its_thickness(name):
    thickness, _ = published(name)
    plain = corrupt(name, *grey(128))[0, ..., 0] / 128  # (1 + thickness' clouds) / (1 + thickness'), in units of white
    assert plain.max() == pytest.approx((0.502 + thickness) / (0.502 + thickness), abs=0.02)
    assert plain.min() == pytest.approx(0.502 / (0.502 + thickness), abs=0.02)


def test_a_slower_decay_makes_finer_fog():
    smooth, fine = (np.abs(np.diff(_clouds(64, decay, Dice("clouds")), n=2)).mean() for decay in (3.0, 1.4))
    assert 5 * smooth < fine < 0.5


@pytest.mark.parametrize("name", sets("brightness"))
def test_brightness_raises_the_value_and_keeps_hue_and_saturation(name):
    colours = np.random.default_rng(1).integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)
    colours[0, 0, 0] = 0
    corrupted = corrupt(name, colours, np.array(["x"]))[0].reshape(-1, 3)
    for colour, result in zip(colours.reshape(-1, 3) / 255, corrupted, strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*colour)
        expected = colorsys.hsv_to_rgb(hue, saturation, min(1.0, value + published(name)))
        np.testing.assert_allclose(result, np.array(expected) * 255, atol=0.5 + 1e-6)


@pytest.mark.parametrize("name", sets("contrast"))
def test_contrast_keeps_its_fraction_of_the_distance_from_the_mean(small, name):
    mean = small[0].mean(axis=(1, 2), keepdims=True)
    expected = (small[0] - mean) * published(name) + mean
    np.testing.assert_allclose(corrupt(name, *small), expected, atol=0.5 + 1e-6)


def test_elastic_severities_one_and_two_move_the_whole_and_the_others_its_details(small):
    apply, parameters = CORRUPTIONS["elastic_transform"]
    np.testing.assert_allclose(apply(small[0][0] / 255, (0, 1, 0), Dice("still")) * 255, small[0][0], atol=1e-6)
    ramp = np.repeat(np.linspace(0.25, 0.75, 224)[:, None], 224, axis=1)[..., None].repeat(3, axis=-1)
    rough = []
    for amounts in parameters:
        inner = apply(ramp, amounts, Dice("ramp"))[80:140, 80:140, 0]
        rough.append(np.abs(np.diff(inner, n=2, axis=1)).mean() * 446)  # in pixels of displacement
    assert rough[0] < 0.001 < rough[1] < 0.01
    assert 0.1 < rough[2] < rough[3] < rough[4] < 1.5


@pytest.mark.parametrize(("severity", "block"), [(2, 2), (5, 4)])
def test_pixelation_is_the_mean_of_blocks(small, severity, block):
    n = 32 // block
    means = small[0].reshape(-1, n, block, n, block, 3).mean(axis=(2, 4))
    expected = means.repeat(block, axis=1).repeat(block, axis=2)
    # Pillow rounds twice, along rows and along columns
    np.testing.assert_allclose(corrupt(f"corrupt:pixelate:{severity}", *small), expected, atol=1)


@pytest.mark.parametrize("name", sets("jpeg_compression"))
def test_jpeg_is_what_pillow_makes_of_it(small, name):
    file = BytesIO()
    PIL.Image.fromarray(small[0][0]).save(file, "JPEG", quality=published(name))
    np.testing.assert_array_equal(corrupt(name, small[0][:1], small[1][:1])[0], np.asarray(PIL.Image.open(file)))


# ----------------------------------------------------------------------------------------------------- asking for them


def test_every_task_hands_out_corrupted_test_sets():
    for name in ("digits", "toy"):
        task = tasks.load(name)
        corrupted = task.split("corrupt:impulse_noise:3")
        assert corrupted.ids.tolist() == task.test.ids.tolist()
        assert corrupted.labels.tolist() == task.test.labels.tolist()
        np.testing.assert_array_equal(
            corrupted.images[:3], corrupt("corrupt:impulse_noise:3", task.test.images[:3], task.test.ids[:3])
        )
        assert not [shift for shift in task.shifts if shift.startswith("corrupt")]


def test_shifted_images_are_kept_while_there_is_room(monkeypatch):
    parts = (toy.split(3, seed) for seed in range(3))
    task = tasks.Task("toy", "natural", toy.CLASSES, "for tests", *parts)
    assert task.split("corrupt:contrast:1") is task.split("corrupt:contrast:1")
    monkeypatch.setattr("petl_study.tasks._base.KEPT_BYTES", 0)
    assert task.split("corrupt:contrast:2") is not task.split("corrupt:contrast:2")


def test_a_study_looks_at_the_corruptions_that_it_names():
    have = ("blur:1", "blur:2", "noise:1")
    assert Keep().shifts_of(have) == list(have)
    assert Keep(shifts=["corrupt:fog:3", "blur"]).shifts_of(have) == ["blur:1", "blur:2", "corrupt:fog:3"]
    assert Keep(shifts=["corrupt:fog"]).shifts_of(have) == [f"corrupt:fog:{severity}" for severity in SEVERITIES]
    assert Keep(shifts=["corrupt", "corrupt:fog:3"]).shifts_of(()) == list(CORRUPTION_SETS)
    assert spec.resolve(toy.study(keep={"shifts": ["corrupt:fog:3"]})).keep.shifts == ["corrupt:fog:3"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("corrupt:fogg:3", r"'corrupt:fogg:3': unknown corruption 'fogg'; known: brightness, .*Did you mean 'fog'\?"),
        ("corrupt:fog:6", r"'corrupt:fog:6': unknown severity '6'; known: 1 to 5, as in 'corrupt:fog:3'"),
        ("corrupt:fog:03", "unknown severity '03'"),
        ("corrupt:fog:3:1", "unknown severity '3:1'"),
        ("corrupt:fog:", "unknown severity ''"),
        ("corrupt:", "unknown corruption ''"),
    ],
)
def test_a_corruption_that_there_is_not_is_answered_with_those_there_are(small, name, message):
    with pytest.raises(InputError, match=message):
        corrupt(name, *small)
    with pytest.raises(InputError, match=message):
        spec.resolve(toy.study(keep={"shifts": [name]}))


@pytest.mark.parametrize("name", ["corrupt", "corrupt:fog"])
def test_images_are_corrupted_in_one_way_at_a_time(small, name):
    with pytest.raises(InputError, match=f"'{name}' names several sets; ask for one, such as 'corrupt:"):
        corrupt(name, *small)
