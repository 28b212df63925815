"""The least memory that a step of training a vision transformer can take, in closed form, term by term.

B images a step, b of them at once, N tokens an image, width d, hidden width m, depth L, h heads, rank r, C classes;
fp32, 4 bytes a number. Every operation keeps for its derivative what that is written with, each tensor once, and
nothing is computed a second time:

    y = norm(x)               needs x, and a mean and a deviation a token
    y = W x + b               needs x where W learns
    o = attention(q, k, v)    needs q, k, v, o, and the logarithm of each row's sum, h a token
    y = gelu(x)               needs x
    y = x + f(x)              needs nothing

Of what is there for a moment only, the widest moment counts, at GELU in the last block. Not in it: what a library
copies, and what is free between blocks of memory of different sizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from timm.layers.attention import Attention
from timm.layers.mlp import Mlp
from timm.models.vision_transformer import Block, VisionTransformer
from torch import nn

NUMBER = 4  # bytes in fp32
DERIVED = ("full", "lora", "linear")


@dataclass(frozen=True)
class Term:
    """A part of the memory: its formula with `numbers`, and why it is needed."""

    name: str
    numbers: int
    why: str

    @property
    def bytes(self) -> int:
        return NUMBER * self.numbers


@dataclass(frozen=True)
class Shape:
    """The sizes of a vision transformer, as the formulas call them."""

    tokens: int
    width: int
    hidden: int
    depth: int
    heads: int
    classes: int
    pixels: int
    weights: int

    @classmethod
    def of(cls, model: nn.Module) -> Shape | None:
        """Those of a plain `model`; None where it is built otherwise than the formulas say."""
        if type(model) is not VisionTransformer or not all(_is_usual(block) for block in model.blocks):
            return None
        block: Any = model.blocks[0]
        patches: Any = model.patch_embed
        height, width = patches.img_size
        return cls(
            tokens=patches.num_patches + model.num_prefix_tokens,
            width=model.embed_dim,
            hidden=block.mlp.fc1.out_features,
            depth=len(model.blocks),
            heads=block.attn.num_heads,
            classes=model.num_classes,
            pixels=height * width,
            weights=sum(parameter.numel() for parameter in model.parameters()),
        )


def terms(shape: Shape, method: str, *, batch: int, at_once: int, rank: int = 8) -> list[Term]:
    """The terms of a step of `method`, one of `DERIVED`."""
    head = shape.classes * (shape.width + 1)
    added = 4 * rank * shape.width * shape.depth if method == "lora" else 0
    learns = shape.weights if method == "full" else head + added
    return [
        Term("weights", shape.weights + added, "the backbone, its classifier and what the method adds"),
        Term("gradients", learns, "one for every number that learns"),
        Term("AdamW", 2 * learns, "a first and a second moment for every number that learns"),
        Term("images  3 H W B", 3 * shape.pixels * batch, "the batch, as the model takes it"),
        *_activations(shape, method, at_once, rank),
        Term("features  b d", at_once * shape.width, "what the classifier learns from"),
        Term("likelihoods  b C", at_once * shape.classes, "the derivative of the loss is written with them"),
        _widest_moment(shape, method, at_once),
    ]


# --------------------------------------------------------------------------------------------------------------- parts


def _is_usual(block: Any) -> bool:
    parts_known = type(block) is Block and type(block.attn) is Attention and type(block.mlp) is Mlp
    return parts_known and isinstance(block.norm1, nn.LayerNorm) and isinstance(block.mlp.act, nn.GELU)


def _activations(shape: Shape, method: str, at_once: int, rank: int) -> list[Term]:
    """What the way back through the blocks needs of `at_once` images: nothing for linear probing."""
    if method == "linear":
        return []
    token = shape.tokens * at_once  # numbers of one row a token, for all images that are there at once
    full, depth = method == "full", shape.depth
    # Below the first update of LoRA nothing learns, so the way back ends at it: that norm's input is not needed.
    norms = depth if full else depth - 1
    return [
        Term("norm1, input  b N d L", token * shape.width * norms, _norm(full, "norm1")),
        Term("norm1, output  b N d L", token * shape.width * depth, _into(full, "qkv", "A")),
        *([] if full else [Term("A x  b N r L", token * rank * depth, "the gradient of B is written with it")]),
        Term("q, k, v  3 b N d L", 3 * token * shape.width * depth, "the derivative of attention"),
        Term("attention, output  b N d L", token * shape.width * depth, _out(full)),
        Term("attention, log sums  b N h L", token * shape.heads * depth, "a row's sum of the softmax, for each head"),
        Term("norm2, input  b N d L", token * shape.width * depth, "the derivative of norm2"),
        *_learned(full, "norm2, output  b N d L", token * shape.width * depth, "fc1"),
        Term("GELU, input  b N m L", token * shape.hidden * depth, "its derivative"),
        *_learned(full, "GELU, output  b N m L", token * shape.hidden * depth, "fc2"),
        Term("norm, input  b N d", token * shape.width, "the derivative of the last norm"),
        Term(
            "deviations  2 b N (2 L + 1)", 2 * token * (norms + depth + 1), "a mean and a deviation a token, each norm"
        ),
    ]


def _widest_moment(shape: Shape, method: str, at_once: int) -> Term:
    """What is there at GELU beside the activations, of which the way back has freed the last norm's by then."""
    formula, numbers, why = {
        "linear": ("b N (d + 2 m)", shape.width + 2 * shape.hidden, "its input and output, and the stream beside them"),
        "lora": ("2 b N m", 2 * shape.hidden, "the gradients of its input and output"),
        "full": ("b N m", shape.hidden, "the gradient of its output; its output made room for that of its input"),
    }[method]
    return Term(f"at GELU  {formula}", at_once * shape.tokens * numbers, f"for a moment: {why}")


def _norm(full: bool, name: str) -> str:
    return f"the derivative of {name}" + ("" if full else "; of the first none, as nothing before it learns")


def _into(full: bool, layer: str, factor: str) -> str:
    return f"the gradient of {layer}'s weight" if full else f"the gradient of {factor}; the frozen {layer} needs none"


def _out(full: bool) -> str:
    return "the derivative of attention" + (", and the gradient of proj's weight" if full else "")


def _learned(full: bool, name: str, numbers: int, layer: str) -> list[Term]:
    """What a layer's weight learns from; a frozen one needs nothing."""
    return [Term(name, numbers, f"the gradient of {layer}'s weight")] if full else []
