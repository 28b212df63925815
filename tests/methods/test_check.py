"""`methods.check`: every method passes it, and one that breaks a promise is told which."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from petl_study import methods
from petl_study.errors import InputError
from petl_study.methods import Method, Wrapper, wrap

OWN = [name for name in methods.list_methods() if methods.get(name).extra is None]


@pytest.mark.parametrize("name", OWN)
def test_every_method_keeps_its_promises(name):
    before = torch.random.get_rng_state()
    methods.check(name)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("position", ["mlp", "qkv"])
def test_hyperparameters_are_checked_too(position):
    methods.check("sct", position=position)
    methods.check(methods.create("sct", position=position))
    with pytest.raises(InputError, match="unknown position of sct 'nowhere'"):
        methods.check("sct", position="nowhere")


class Gain(Wrapper):
    """The last layer of an MLP with a gain for each of its outputs: what the broken ones below are made from."""

    def __init__(self, base):
        super().__init__(base)
        self.gain = nn.Parameter(base.weight.new_ones(len(base.weight)))

    def at_alpha(self):
        return 1 + self.alpha * (self.gain - 1)

    def forward(self, x):
        return self.at_alpha() * self.base(x)

    def unfoldable(self):
        return None

    @torch.no_grad()
    def fold(self):
        self.base.weight *= self.at_alpha()[:, None]
        self.base.bias *= self.at_alpha()
        return self.base


class NeverPretrained(Gain):
    def forward(self, x):
        return self.gain * self.base(x)


class AlwaysTuned(Gain):
    def forward(self, x):
        return (self.gain if self.alpha else 1) * self.base(x)


class Drifts(Gain):
    def forward(self, x):
        if self.alpha not in (0, 1):
            self.gain.data = self.at_alpha()
        return super().forward(x)


class FoldsHalf(Gain):
    @torch.no_grad()
    def fold(self):
        self.base.weight *= self.at_alpha()[:, None]
        return self.base


class FoldsTheTunedEnd(Gain):
    @torch.no_grad()
    def fold(self):
        self.alpha = 1.0
        return super().fold()


class FoldsCurved(Gain):
    def at_alpha(self):
        return self.gain.abs() ** self.alpha


class StaysWrapped(Gain):
    def fold(self):
        return nn.Sequential(super().fold())


class Spoils(Gain):
    def unfoldable(self):
        self.gain.data *= 2
        return "it cannot"


class Forgets(Gain):
    def __init__(self, base):
        super().__init__(base)
        self.noise = torch.randn(len(base.weight))  # no buffer: it is not kept

    def forward(self, x):
        return super().forward(x) + self.alpha * (self.gain - 1) * self.noise


class Single(Gain):
    def __init__(self, base):
        super().__init__(base)
        self.gain = nn.Parameter(torch.ones(len(base.weight)))


class SingleConstant(Gain):
    def __init__(self, base):
        super().__init__(base)
        self.register_buffer("ones", torch.ones(len(base.weight), len(base.weight)))

    def forward(self, x):
        return super().forward(x) @ (1 - self.alpha + self.alpha * self.ones)


class Dead(Gain):
    def __init__(self, base):
        super().__init__(base)
        self.factor = nn.Parameter(base.weight.new_zeros(len(base.weight)))
        self.gain = nn.Parameter(base.weight.new_zeros(len(base.weight)))

    def at_alpha(self):
        return 1 + self.alpha * self.gain * self.factor


class Idle(Gain):
    def __init__(self, base):
        super().__init__(base)
        self.unused = nn.Parameter(base.weight.new_ones(3))


def method_of(wrapper: type[Wrapper]) -> Method:
    @dataclass(frozen=True)
    class Made(Method):
        def inject(self, model, data):
            wrap(model, "mlp.fc2", wrapper)

    Made.name, Made.__qualname__ = "made", wrapper.__name__
    return Made()


def test_the_gain_that_the_broken_ones_are_made_from_keeps_every_promise():
    methods.check(method_of(Gain))


@pytest.mark.parametrize(
    ("wrapper", "told"),
    [
        (NeverPretrained, r"scale 0 is not the pre-trained model: the largest difference is \d\.\de-0[12] of"),
        (AlwaysTuned, "scale 0.3 is still the tuned model: does its wrapper use alpha"),
        (Drifts, "scale 0 and back to 1 is not the tuned model: logits are"),
        (FoldsHalf, "merged, it says something else: the largest difference"),
        (FoldsTheTunedEnd, "merged at scale 0.3, it says something else: the largest difference"),
        (FoldsCurved, r"not the straight line between the pre-trained and the merged blocks\.0\.mlp\.fc2\.weight"),
        (StaysWrapped, r"not made of the plain model's modules: blocks\.0\.mlp\.fc2\.0, blocks\.1\.mlp\.fc2\.0"),
        (Spoils, "it cannot be merged, and trying to changed its logits"),
        (Forgets, "its state does not bring back its logits: they are"),
        (Single, r"on a float64 backbone it trains torch\.float32: blocks\.0\.mlp\.fc2\.gain"),
        (SingleConstant, "on a float64 backbone it does not run: .*dtype"),
        (Dead, r"every gradient is zero, so it cannot learn: blocks\.0\.mlp\.fc2\.factor"),
        (Idle, r"a step does not change what trainable_parameters lists: blocks\.0\.mlp\.fc2\.unused"),
    ],
)
def test_a_broken_promise_is_told_with_what_shows_it(wrapper, told):
    with pytest.raises(InputError, match=rf"{wrapper.__name__}\(\) breaks a promise of methods: .*{told}"):
        methods.check(method_of(wrapper))


def test_what_learns_beside_the_list_is_told():
    @dataclass(frozen=True)
    class Loose(Method):
        def apply(self, model, data=None):
            super().apply(model, data)
            model.pos_embed.requires_grad_(True)
            return model

    Loose.name = "loose"
    with pytest.raises(InputError, match="what can learn is not what trainable_parameters lists: pos_embed"):
        methods.check(Loose())


def test_a_method_may_refuse_a_precision():
    class Refusing(Gain):
        def __init__(self, base):
            if base.weight.dtype != torch.float32:
                raise InputError("single precision only.")
            super().__init__(base)

    methods.check(method_of(Refusing))
