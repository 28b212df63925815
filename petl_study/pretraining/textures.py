"""Textures as batches of fields: each function draws `n` images of one class on the coordinates it is given.

Coordinates `u`, `v` are (n, H, W), from -1 to 1 across the image before rotation and warping; a field is (n, H, W),
positive where the texture's first colour goes, with a deviation of about 1.
"""

from __future__ import annotations

from collections.abc import Callable
from math import pi

import torch
from torch import Tensor

from petl_study.pretraining.chance import Chance

Texture = Callable[[Tensor, Tensor, Chance], Tensor]


def _each(values: Tensor) -> Tensor:
    """One number an image, (n,), to broadcast over pixels: (n, 1, 1)."""
    return values[:, None, None]


def _frequency(n: int, chance: Chance, low: float = 1.5, high: float = 5.0) -> Tensor:
    """Half the number of periods across the image: (n, 1, 1)."""
    return _each(chance.log_uniform(n, low=low, high=high))


def stripes(u: Tensor, v: Tensor, chance: Chance) -> Tensor:
    return torch.sin(pi * _frequency(len(u), chance) * u + _each(chance.uniform(len(u), high=2 * pi))) * 1.4


def checks(u: Tensor, v: Tensor, chance: Chance) -> Tensor:
    f = _frequency(len(u), chance, 1.2, 3.5)
    return torch.sin(pi * f * u) * torch.sin(pi * f * v) * 2.5


def dots(u: Tensor, v: Tensor, chance: Chance) -> Tensor:
    f = _frequency(len(u), chance, 1.5, 4.0)
    rows = torch.floor(f * v)
    stagger = _each(chance.happens(len(u), p=0.5).float()) * 0.5 * (rows % 2)
    du, dv = (f * u + stagger) % 1 - 0.5, (f * v) % 1 - 0.5
    return (_each(chance.uniform(len(u), low=0.2, high=0.36)) - torch.sqrt(du * du + dv * dv)) * 6


def waves(u: Tensor, v: Tensor, chance: Chance) -> Tensor:
    n = len(u)
    swing = _each(chance.uniform(n, low=0.15, high=0.3)) * torch.sin(pi * _frequency(n, chance, 1.5, 2.5) * v)
    return torch.sin(pi * _frequency(n, chance, 2.0, 5.0) * (u + swing)) * 1.4


def zigzag(u: Tensor, v: Tensor, chance: Chance) -> Tensor:
    n = len(u)
    tooth = ((_frequency(n, chance, 1.0, 2.0) * v) % 1 - 0.5).abs() * 2
    return (
        torch.sin(pi * _frequency(n, chance, 2.0, 5.0) * (u + _each(chance.uniform(n, low=0.25, high=0.5)) * tooth))
        * 1.4
    )


def rings(u: Tensor, v: Tensor, chance: Chance) -> Tensor:
    return torch.sin(2 * pi * _frequency(len(u), chance, 1.2, 3.5) * _polar(u, v, chance)[0]) * 1.4


def spokes(u: Tensor, v: Tensor, chance: Chance) -> Tensor:
    arms = _each(chance.uniform(len(u), low=4.0, high=11.0).floor())
    return torch.sin(arms * _polar(u, v, chance)[1]) * 1.4


def spiral(u: Tensor, v: Tensor, chance: Chance) -> Tensor:
    n = len(u)
    radius, angle = _polar(u, v, chance)
    turn = _each(chance.happens(n, p=0.5).float() * 2 - 1) * _each(chance.uniform(n, low=1.0, high=4.0).floor())
    return torch.sin(2 * pi * _frequency(n, chance, 1.0, 2.5) * radius + turn * angle) * 1.4


def bricks(u: Tensor, v: Tensor, chance: Chance) -> Tensor:
    f = _frequency(len(u), chance, 1.8, 4.0)
    rows = torch.floor(f * v)
    across = ((f * u / 2 + 0.5 * (rows % 2)) % 1 - 0.5).abs() * 2  # 1 at a brick's sides
    down = ((f * v) % 1 - 0.5).abs()
    return torch.minimum((1 - across) - 0.15, (0.5 - down) - 0.1) * 8


def lattice(u: Tensor, v: Tensor, chance: Chance) -> Tensor:
    f = _frequency(len(u), chance, 1.5, 4.0)
    nearest = torch.minimum(((f * u) % 1 - 0.5).abs(), ((f * v) % 1 - 0.5).abs())
    return (_each(chance.uniform(len(u), low=0.06, high=0.16)) - nearest) * 10


def cells(u: Tensor, v: Tensor, chance: Chance) -> Tensor:
    """Borders between the nearest-point regions of 8 to 16 points."""
    n, most = len(u), 16
    points = chance.uniform(n, 2, most, 1, 1, low=-1.2, high=1.2)
    points = points + (torch.arange(most) >= _each(chance.uniform(n, low=8, high=17))).view(n, 1, most, 1, 1) * 9
    distance = torch.sqrt((u[:, None] - points[:, 0]) ** 2 + (v[:, None] - points[:, 1]) ** 2)  # (n, 16, H, W)
    nearest = distance.topk(2, dim=1, largest=False).values
    return (nearest[:, 1] - nearest[:, 0] - 0.12) * 10


def grain(u: Tensor, v: Tensor, chance: Chance) -> Tensor:
    """Noise of the finest scales."""
    return _noise(u, chance, lambda f, _: f.clamp(min=1e-3) ** 0.5)


def clouds(u: Tensor, v: Tensor, chance: Chance) -> Tensor:
    """Noise of all scales, the coarse ones strongest."""
    slope = _each(chance.uniform(len(u), low=1.6, high=2.4))
    return _noise(u, chance, lambda f, _: f.clamp(min=1 / 32) ** -slope)


def blobs(u: Tensor, v: Tensor, chance: Chance) -> Tensor:
    """Noise of one scale, without direction."""
    peak = _each(chance.log_uniform(len(u), low=0.08, high=0.2))
    return _noise(u, chance, lambda f, _: torch.exp(-(((f - peak) / (0.25 * peak)) ** 2)))


def streaks(u: Tensor, v: Tensor, chance: Chance) -> Tensor:
    """Noise drawn out along one direction."""
    angle = _each(chance.uniform(len(u), high=pi))

    def spectrum(f: Tensor, direction: Tensor) -> Tensor:
        along = f * torch.cos(direction - angle)
        across = f * torch.sin(direction - angle)
        return torch.exp(-((along / 0.03) ** 2) - (across / 0.25) ** 2)

    return _noise(u, chance, spectrum)


TEXTURES: dict[str, Texture] = {
    f.__name__: f
    for f in (
        stripes,
        checks,
        dots,
        waves,
        zigzag,
        rings,
        spokes,
        spiral,
        bricks,
        lattice,
        cells,
        grain,
        clouds,
        blobs,
        streaks,
    )
}


def _polar(u: Tensor, v: Tensor, chance: Chance) -> tuple[Tensor, Tensor]:
    """Radius and angle around a centre in the image's middle part: (n, H, W) each."""
    du, dv = (c - _each(chance.uniform(len(u), low=-0.4, high=0.4)) for c in (u, v))
    return torch.sqrt(du * du + dv * dv), torch.atan2(dv, du)


def _noise(like: Tensor, chance: Chance, spectrum: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """White noise whose amplitude at each frequency (cycles a pixel) and direction is `spectrum`: (n, H, W)."""
    n, height, width = like.shape
    fy, fx = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None, :]
    shape = spectrum(torch.sqrt(fy * fy + fx * fx), torch.atan2(fy, fx).expand(height, -1))
    noise: Tensor = torch.fft.irfft2(torch.fft.rfft2(chance.normal(n, height, width)) * shape, s=(height, width))
    noise = noise - noise.mean(dim=(1, 2), keepdim=True)
    spread: Tensor = noise.std(dim=(1, 2), keepdim=True)
    return noise / spread.clamp(min=1e-6)
