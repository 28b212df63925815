"""peft:<type>, what Hugging Face PEFT offers on linear layers (https://github.com/huggingface/peft): extra `peft`.

    W' = (1 - a) W + a T(W)      W (o, i), and its bias   T: the type's map   a: 1 tuned, 0 pre-trained

`TYPES` has a row a type: T, its paper, its hyperparameters. T is PEFT's own code, in training and in the fold, which
all types have. It acts at `sites`, by default on the fused query-key-value projection, as in the study's LoRA (arXiv
2409.16434), and on both layers of the MLP where a family has no attention; name others as in "attn.qkv,mlp.fc1".
`ia3` scales q, k, v and the MLP's hidden channels: its paper leaves q out, which PEFT cannot in a fused projection, but
q and k meet only in products, so that scaling both adds no function to scaling one. Dropout is off.

What a type freezes beside W is made again from `seed`, or by decomposing W, whenever it is applied: a run keeps what it
tuned and no more. A decomposition is the machine's LAPACK's, and on another its vectors may come out with other signs.
`block` is a bound: the largest size that divides the layers' widths is taken.

A rank's default and search are those of the study's LoRA, where the type allows them; `fourierft` follows PEFT's advice
for ViTs; other defaults are PEFT's or ours, other searched values ours.

Left out:
- prompt, p-, prefix and multitask prompt tuning, CPT, adaption prompts, cartridges, trainable tokens, Shadow: made for
  the tokens or the decoder of a language model (see `vpt_shallow`, `vpt_deep`, `prefix_tuning`);
- LoRA and LN tuning: are here already, as `lora` and `layernorm`;
- AdaLoRA, MonteCLoRA, KaSA: need steps of their own in the training loop, or terms of their own in the loss;
- OSF: projects gradients in hooks, which a copy of the model loses;
- Lily: routes by the mean over the batch, so what it says of an image depends on the images beside it;
- PoLy, X-LoRA, Arrow: route between tasks, or between adapters that are trained already;
- BOFT: its butterfly is a CUDA extension, compiled at first use; without, PEFT makes the blocks of `oft` instead;
- QA-LoRA (for quantised weights), aLoRA (a token switches it on), VeLoRA (LoRA, with activations compressed), BD-LoRA
  (LoRA, cut up for servers), EVA, CorDA, LoRA-GA, LoftQ (LoRA, started from data or from quantised weights).
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar, NamedTuple

from torch import nn

from petl_study.errors import unknown
from petl_study.methods._base import Data, Method, fixed, register, searched
from petl_study.methods._linear import matrix
from petl_study.methods._peft import around
from petl_study.methods._sites import SITES, listed, present, sites

Shapes = list[tuple[int, int]]  # (i, o) of every layer


class Knob(NamedTuple):
    """A hyperparameter: what it `sets` in PEFT's configuration, its default, the values that a search tries, bounds.

    `sets` names the arguments that take the value as it is, or makes them of the value and the layers' shapes.
    """

    sets: str | Callable[[Any, Shapes], dict[str, Any]]
    default: Any
    values: tuple[Any, ...] = ()
    at_least: float = -math.inf
    at_most: float = math.inf

    def arguments(self, value: Any, shapes: Shapes) -> dict[str, Any]:
        return dict.fromkeys(self.sets.split(), value) if isinstance(self.sets, str) else self.sets(value, shapes)


def rank(sets: str | Callable[[Any, Shapes], dict[str, Any]] = "r", default: int = 8, *values: int) -> Knob:
    return Knob(sets, default, values or (1, 8, 16, 32), at_least=1)


def seed(sets: str) -> Knob:
    return Knob(sets, 0, at_least=0)


def largest(limit: int, widths: Iterable[int]) -> int:
    """The largest number that divides all `widths` and is at most `limit`."""
    common = math.gcd(*widths)
    return max(n for n in range(1, min(limit, common) + 1) if common % n == 0)


class Type(NamedTuple):
    """A row of the table. `weight` is T(W) and the start of what is trained; matrices are multiplied @, elements *."""

    paper: str
    weight: str
    numbers: str  # that are trained in a layer
    config: str  # PEFT's configuration class
    knobs: dict[str, Knob]
    arguments: dict[str, Any] = {}  # noqa: RUF012  # of the configuration, always the same
    sites: str = "attn.qkv or mlp.fc1,mlp.fc2"
    rewrites: bool = False  # PEFT changes W when it starts
    sparse: bool = False  # it multiplies by sparse matrices


TYPES = {
    # ---------------------------------------------------------------------------------------------- low-rank updates
    "dora": Type(
        "Liu et al., arXiv 2402.09353",
        "m * (W + B @ A) / |W + B @ A|, norms of rows: B (o, r) zero, A (r, i), m (o, 1) from |W|",
        "r (i + o) + o",
        "LoraConfig",
        {"rank": rank("r lora_alpha")},
        {"use_dora": True},
    ),
    "rslora": Type(
        "Kalajdzievski, arXiv 2312.03732",
        "W + alpha / sqrt(r) B @ A: B (o, r) zero, A (r, i)",
        "r (i + o)",
        "LoraConfig",
        {"rank": rank(), "alpha": Knob("lora_alpha", 16, at_least=1)},
        {"use_rslora": True},
    ),
    "pissa": Type(
        "Meng et al., arXiv 2404.02948",
        "W - B0 @ A0 + B @ A: B0 @ A0 is the best approximation of W of rank r, where B (o, r) and A (r, i) start",
        "r (i + o)",
        "LoraConfig",
        {"rank": rank("r lora_alpha")},
        {"init_lora_weights": "pissa"},
        rewrites=True,
    ),
    "olora": Type(
        "Büyükakyüz, arXiv 2406.01775",
        "W - B0 @ A0 + B @ A: W = Q @ R, B (o, r) starts at B0, the first columns of Q, A (r, i) at A0, the rows of R",
        "r (i + o)",
        "LoraConfig",
        {"rank": rank("r lora_alpha")},
        {"init_lora_weights": "olora"},
        rewrites=True,
    ),
    "mica": Type(
        "Rüdiger and Raschka, arXiv 2604.01694",
        "W + B @ A: A (r, i) zero, B (o, r) frozen, the left singular vectors of W with the smallest singular values",
        "r i",
        "LoraConfig",
        {"rank": rank("r lora_alpha")},
        {"init_lora_weights": "mica"},
    ),
    "delora": Type(
        "Bini et al., arXiv 2503.18225",
        "W + B @ diag(s / (r |a| |b|)) @ A * |w|, norms of B's columns, A's rows, W's columns: s (1,), B zero, A",
        "r (i + o) + 1",
        "DeloraConfig",
        {"rank": rank(), "bound": Knob("delora_lambda", 15.0, at_least=0)},
    ),
    "gralora": Type(
        "Jung et al., arXiv 2505.20355",
        "W + 2 B @ A of rank r / n in each of the n x n `blocks` of W: B (n, r, o / n) zero, A (n, i / n, r)",
        "r (i + o)",
        "GraloraConfig",
        {
            "rank": rank(lambda r, _: {"r": r, "alpha": 2 * r}, 8, 8, 16, 32),
            "blocks": Knob("gralora_k", 2, at_least=1),
        },
    ),
    "glora": Type(
        "Chavan et al., arXiv 2306.07967",
        "W + W * A + B, and of the bias b + b d + e + W @ c: A and B (o, i), c (i, 1) of rank r, one factor zero; d, e",
        "r (3 i + 2 o + 1) + 2",
        "GloraConfig",
        {"rank": rank()},
    ),
    "miss": Type(
        "Kang and Yin, arXiv 2409.15371",
        "W + D.T @ [1 1 ... 1], identities of size r side by side: D (r, o) zero",
        "r o",
        "MissConfig",
        {"rank": rank()},
    ),
    "deft": Type(
        "Kumar et al., arXiv 2509.22793",
        "W - P @ p(P).T @ W + P @ R: P (o, r), R (r, i) so that the start is W; p is relu, or P orthogonalised with qr",
        "r (i + o)",
        "DeftConfig",
        {"rank": rank(), "projection": Knob("decomposition_method", "relu", ("relu", "qr"))},
    ),
    "peanut": Type(
        "Zhong et al., arXiv 2410.01870",
        "W + B @ relu(A @ W): B (o, r) zero, A (r, o), and `depth` pairs of (r, r) layers with a shortcut between them",
        "2 r o + 2 depth r^2",
        "PeanutConfig",
        {"rank": rank(), "depth": Knob("depth", 0, at_least=0)},
    ),
    # -------------------------------------------------------------------------- products of other kinds, of high rank
    "loha": Type(
        "Hyeon-Woo et al., arXiv 2108.06098",
        "W + (B1 @ A1) * (B2 @ A2): B1, B2 (o, r), B2 zero, A1, A2 (r, i)",
        "2 r (i + o)",
        "LoHaConfig",
        {"rank": rank("r alpha")},
    ),
    "lokr": Type(
        "Yeh et al., arXiv 2309.14859",
        "W + kron(C, B @ A): C (p, q) zero, p and q the divisors of o and i nearest to `factor`, or to their roots",
        "p q + r (o / p + i / q), or p q + o i / (p q) where that is less",
        "LoKrConfig",
        {"rank": rank("r alpha"), "factor": Knob("decompose_factor", -1, at_least=-1)},
    ),
    "hira": Type(
        "Huang et al., ICLR 2025, openreview.net/forum?id=TwJrTz9cRS",
        "W + W * (B @ A): B (o, r) zero, A (r, i)",
        "r (i + o)",
        "HiraConfig",
        {"rank": rank("r", 32, 8, 16, 32)},
    ),
    # --------------------------------------------------------------------------- few numbers in a frozen, shared basis
    "vera": Type(
        "Kopiczko et al., arXiv 2310.11454",
        "W + diag(b) @ B @ diag(d) @ A: b (o,) zero, d (r,) at `start`; B (o, r), A (r, i) random, one for all layers",
        "o + r",
        "VeraConfig",
        {"rank": rank("r", 256, 256, 1024), "start": Knob("d_initial", 0.1), "seed": seed("projection_prng_key")},
    ),
    "pvera": Type(
        "Fillioux et al., arXiv 2512.07703",
        "W + diag(b) @ B @ diag(d) @ A as vera; in training d A x is a Gaussian's mean, d' A' x its log-variance",
        "o + 2 r",
        "PveraConfig",
        {"rank": rank("r", 256, 256, 1024), "start": Knob("d_initial", 0.1), "seed": seed("projection_prng_key")},
    ),
    "randlora": Type(
        "Albert et al., arXiv 2502.00987",
        "W + 20 sum_n B_n @ diag(l_n) @ A @ diag(g_n), min(i, o) / r terms: l_n zero, g_n; B_n, A random, as in vera",
        "(r + i) i / r, rounded up, of an i that is at most o",
        "RandLoraConfig",
        {
            "rank": rank(lambda r, _: {"r": r, "randlora_alpha": 20 * r}, 32, 8, 16, 32),
            "seed": seed("projection_prng_key"),
        },
    ),
    "vblora": Type(
        "Li et al., arXiv 2405.15179",
        "W + B @ A, in pieces of length `block`: each mixes the two of all layers' `vectors` that it weighs most",
        "r (i + o) vectors / block, and vectors * block for all layers",
        "VBLoRAConfig",
        {
            "rank": rank("r", 4, 2, 4, 8),
            "vectors": Knob("num_vectors", 256, at_least=2),
            "block": Knob(lambda n, shapes: {"vector_length": largest(n, chain(*shapes))}, 256, at_least=1),
        },
    ),
    "unilora": Type(
        "Li et al., arXiv 2506.00799",
        "W + B @ A: each number of B (o, r) and A (r, i) is one of all layers' `length`, at random and scaled",
        "no; length for all layers together",
        "UniLoraConfig",
        {
            "rank": Knob("r", 4, at_least=1),
            "length": Knob("theta_d_length", 23_040, (256, 2_304, 23_040), at_least=1),
            "seed": seed("proj_seed"),
        },
    ),
    "tinylora": Type(
        "Morris et al., arXiv 2602.04118",
        "W + U @ S @ (sum_n v_n P_n) @ V.T: U, S, V of W's SVD to rank r; v (length,) zero, P_n (r, r) random",
        "length",
        "TinyLoraConfig",
        {
            "length": Knob("u", 64, (16, 64, 256), at_least=1),
            "rank": Knob("r", 2, at_least=1),
            "tying": Knob("weight_tying", 0.0, at_least=0, at_most=1),  # 1: one v for all layers
            "seed": seed("projection_seed"),
        },
    ),
    "adamss": Type(
        "Zheng et al., NeurIPS 2025, openreview.net/forum?id=8ZdWmpYxT0",
        "W + B_n @ A_n @ V in the rows of cluster n: V (k, i) of the SVD, clusters by k-means; B_n (rows, r) zero",
        "r (subspaces k + o)",
        "AdamssConfig",
        {
            "subspaces": Knob("num_subspaces", 5, (5, 10), at_least=1),
            "rank": Knob("subspace_rank", 1, (1, 3), at_least=1),
            "basis": Knob("r", 100, at_least=1),
            "seed": seed("random_seed"),
        },
    ),
    "frod": Type(
        "Wan et al., arXiv 2512.23485",
        "U @ (diag(l) + S) @ V.T, W at the start: l (i,), S (i, i) sparse, zero; V common to the layers of a site",
        "i + density i^2",
        "FrodConfig",
        {"density": Knob("sparse_rate", 0.01, at_least=0, at_most=1), "seed": seed("projection_prng_key")},
        {"progressbar": False},
        sparse=True,
    ),
    # ------------------------------------------------------------------------------------------- orthogonal transforms
    "oft": Type(
        "Qiu et al., arXiv 2306.07280",
        "W @ R.T: R orthogonal in blocks, (I - Q) @ inv(I + Q), Q skew and zero at the start",
        "i (block - 1) / 2",
        "OFTConfig",
        {
            "block": Knob(
                lambda n, shapes: {"oft_block_size": largest(n, [i for i, _ in shapes])}, 32, (16, 32, 64), at_least=2
            )
        },
        {"use_cayley_neumann": False},  # PEFT's five terms of a series leave R orthogonal only near the start
    ),
    "hra": Type(
        "Yuan et al., arXiv 2405.17484",
        "W @ H_1 @ ... @ H_r: reflections H = I - 2 u @ u.T / |u|^2, u (i, 1), that start in equal pairs",
        "r i",
        "HRAConfig",
        {"rank": rank("r", 8, 8, 16, 32), "orthogonal": Knob("apply_GS", False)},  # whether the u are made orthogonal
    ),
    "psoft": Type(
        "Wu et al., arXiv 2505.11235",
        "W + B @ (diag(b) @ R @ diag(a) - I) @ A: B @ A is W to rank r by its SVD, R (r, r) orthogonal; b, a one",
        "r (r - 1) / 2 + 2 r",
        "PsoftConfig",
        {"rank": rank("r psoft_alpha", 16, 16, 32, 64)},
    ),
    "road": Type(
        "Liao and Monz, arXiv 2409.00119",
        "R @ W and R b: pairs of outputs, half a `block` apart, turned by an angle t and scaled by s; t zero, s one",
        "o, 2 o or 4 o, by variant,",
        "RoadConfig",
        {
            "variant": Knob("variant", "road_1", ("road_1", "road_2", "road_4")),  # o, 2 o or 4 o numbers
            "block": Knob(
                lambda n, shapes: {"group_size": 2 * largest(n // 2, [o // 2 for _, o in shapes])}, 64, at_least=2
            ),
        },
    ),
    # --------------------------------------------------------------------------------- other bases: frequencies, waves
    "fourierft": Type(
        "Gao et al., arXiv 2405.03003",
        "W + scale real(ifft2(F)): F (o, i) is zero but for as many `frequencies`, at random; N(0, 1)",
        "frequencies",
        "FourierFTConfig",
        {
            "frequencies": Knob("n_frequency", 1_000, (1_000, 3_000), at_least=1),
            "scale": Knob("scaling", 300.0),
            "seed": seed("random_loc_seed"),
        },
    ),
    "waveft": Type(
        "Bilican et al., arXiv 2505.12532",
        "W + scale idwt2(F), Haar wavelets: F (o, i) is zero but for as many `coefficients`, at random; zero",
        "coefficients",
        "WaveFTConfig",
        {
            "coefficients": Knob("n_frequency", 1_000, (1_000, 3_000), at_least=1),
            "scale": Knob("scaling", 25.0),
            "seed": seed("random_loc_seed"),
        },
    ),
    "c3a": Type(
        "Chen et al., arXiv 2407.19342",
        "W + C / i: (block x block) circulant blocks, a vector each, Xavier-uniform",
        "i o / block",
        "C3AConfig",
        {
            "block": Knob(lambda n, shapes: {"block_size": largest(n, chain(*shapes))}, 128, (128, 768), at_least=1),
        },
    ),
    # ------------------------------------------------------------------------------------------ vectors, sparse weights
    "ia3": Type(
        "Liu et al., arXiv 2205.05638",
        "diag(l) @ W and l b, or W @ diag(l) at mlp.fc2: l (o,) or (i,) one",
        "o, or i at mlp.fc2,",
        "IA3Config",
        {},
        {"feedforward_modules": r"\d+\.mlp_fc2\w*"},
        sites="attn.qkv,mlp.fc2 or mlp.fc2",
    ),
    "beft": Type(
        "Huang et al., arXiv 2509.15974",
        "W, and of the bias b + c: c (o,) zero",
        "o",
        "BeftConfig",
        {},
    ),
    "shira": Type(
        "Bhardwaj et al., arXiv 2406.13175",
        "W + S: S (o, i) is zero but for r (i + o) numbers, as many as a LoRA's, in random places; they start at zero",
        "r (i + o)",
        "ShiraConfig",
        {"rank": rank(), "seed": seed("random_seed")},
    ),
    "supertuning": Type(
        "Ilin et al., arXiv 2607.09287",
        "W + S: S (o, i) is zero but where |W| is among the largest of the layer; those start at zero",
        "(1 - sparsity) i o",
        "SupertuningConfig",
        {"sparsity": Knob("sparsity", 0.99, (0.9, 0.99, 0.999), at_least=0, at_most=1)},
    ),
}


# ----------------------------------------------------------------------------------------------------- a method a row


@dataclass(frozen=True)
class Tuner(Method):
    """A type of the table as a method; its hyperparameters are the fields of the subclass that `_method` makes."""

    type: ClassVar[Type]

    def __post_init__(self) -> None:
        for choice in self._choices():
            for name in choice:
                if name not in SITES:
                    raise unknown(f"site of {self.name}", name, SITES)
        for key, knob in self.type.knobs.items():
            if isinstance(knob.default, str) and getattr(self, key) not in knob.values:
                raise unknown(f"{key} of {self.name}", getattr(self, key), knob.values)

    def inject(self, model: nn.Module, data: Data | None) -> None:
        names = next((c for c in self._choices() if present(model, c) == c), self._choices()[0])
        found = {site.path: (name, site) for name in names for site in sites(model, name)}
        layers = [(name, site.module) for name, site in found.values()]
        arguments = self.arguments([(i, o) for o, i in (matrix(layer).shape for _, layer in layers)])
        made = around(
            layers, self.name, self.type.config, arguments, rewrites=self.type.rewrites, sparse=self.type.sparse
        )
        for (_, site), layer in zip(found.values(), made, strict=True):
            setattr(site.parent, site.name, layer)

    def arguments(self, shapes: Shapes) -> dict[str, Any]:
        """What PEFT's configuration is made with for layers of these shapes."""
        given = dict(self.type.arguments)
        for key, knob in self.type.knobs.items():
            given |= knob.arguments(getattr(self, key), shapes)
        return given

    def _choices(self) -> list[list[str]]:
        """Lists of sites in `sites`, of which the first acts that the backbone has all of."""
        return [listed(choice) for choice in self.sites.split(" or ")]  # type: ignore[attr-defined]


def _method(name: str, row: Type) -> type[Tuner]:
    doc = (
        f"W' = {row.weight} ({row.paper}).\n\nBy {row.config} of Hugging Face PEFT, on the linear layers at `sites`;"
        f" r is `rank`. Trains {row.numbers} numbers a layer i -> o. Folds into W."
    )
    fields = [
        (key, type(knob.default), searched(knob.default, *knob.values, at_least=knob.at_least, at_most=knob.at_most))
        for key, knob in row.knobs.items()
    ]
    return dataclasses.make_dataclass(
        f"Peft{name.capitalize()}",
        [*fields, ("sites", str, fixed(row.sites))],
        bases=(Tuner,),
        namespace={"type": row, "__doc__": doc, "__module__": __name__},
        frozen=True,
    )


for _name, _row in TYPES.items():
    _made = register(f"peft:{_name}", paper=_row.paper, extra="peft")(_method(_name, _row))
    setattr(sys.modules[__name__], _made.__name__, _made)  # where a pickle looks for it
