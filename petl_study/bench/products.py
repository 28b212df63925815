"""The matrix products of a piece of work: recorded as they are computed, counted, and computed again on their own.

What a training or a prediction has to compute are its products; all else (norms, activations, copies, the optimizer,
Python) is what an implementation can save. So products are recorded where torch hands them to a kernel, on the way back
too, with shapes, strides and precision, and `Products` computes the same ones and nothing else:

    mm, addmm, bmm, baddbmm     as they were, into memory that is there already; addmm_, baddbmm_ onto what they add to
    convolution                 as it was, forward and backward
    attention                   q k' and p v forward, dv, dp, dq and dk backward, as `torch.bmm`: what a fused kernel
                                computes a second time on its way back is not counted

Two operands of one shape, layout and precision are the same numbers in every product: they lie in the cache as near as
they can, and the products' own time comes out as short as the machine allows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_aten = torch.ops.aten


@dataclass(frozen=True)
class Operand:
    """A tensor without its numbers."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, tensor: Tensor) -> Operand:
        return cls(tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype)

    def drawn(self, device: str) -> Tensor:
        tensor = torch.empty_strided(self.shape, self.stride, dtype=self.dtype, device=device)
        span = 1 + sum((size - 1) * step for size, step in zip(self.shape, self.stride, strict=True))
        tensor.as_strided((span,), (1,)).normal_()  # an expanded tensor has one number in many places
        return tensor


@dataclass(frozen=True)
class Product:
    """A matrix product: what torch calls it, what it took, and its floating-point operations (2 m n k).

    Attributes
    ----------
    arguments : tuple
        `Operand` for every tensor, and all else as it was.
    named : tuple of (str, value)
        Such as ``("alpha", 0.5)``.
    """

    name: str
    arguments: tuple[Any, ...]
    flops: int
    named: tuple[tuple[str, Any], ...] = ()


@dataclass
class Recorder(TorchDispatchMode):
    """Notes the products that are computed inside its `with` block, the way back included."""

    products: list[Product] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        found = _products_of(func, args, kwargs)
        if not found:
            with self:  # in inference mode what is made of several operations, such as a linear layer, comes whole
                made = func.decompose(*args, **kwargs)
            if made is not NotImplemented:
                return made
        self.products += found
        return func(*args, **kwargs)


def record(work: Callable[[], object]) -> list[Product]:
    """The products that `work` computes, in their order."""
    with Recorder() as recorder:
        work()
    return recorder.products


def flops(products: list[Product]) -> int:
    return sum(product.flops for product in products)


class Products:
    """The same products on drawn numbers: calling it computes each, as often as it was recorded."""

    def __init__(self, products: list[Product], device: str) -> None:
        self._drawn: dict[Operand, Tensor] = {}
        self._device = device
        prepared = {product: self._prepare(product) for product in Counter(products)}
        self._work = [prepared[product] for product in products]

    @torch.inference_mode()
    def __call__(self) -> None:
        for work in self._work:
            work()

    def _prepare(self, product: Product) -> Callable[[], object]:
        arguments = [self._draw(one) if isinstance(one, Operand) else one for one in product.arguments]
        named = dict(product.named)
        if (into := _INTO.get(product.name)) is None:
            operation = getattr(_aten, product.name).default
            return lambda: operation(*arguments, **named)
        with torch.inference_mode():
            named["out"] = into(*arguments, **named)
        return lambda: into(*arguments, **named)

    def _draw(self, operand: Operand) -> Tensor:
        if operand not in self._drawn:
            self._drawn[operand] = operand.drawn(self._device)
        return self._drawn[operand]


def square(size: int, dtype: torch.dtype) -> Product:
    """A product of two square matrices, `size` x `size`: by large ones the machine's own rate is known."""
    matrix = Operand((size, size), (size, 1), dtype)
    return Product("mm", (matrix, matrix), 2 * size**3)


# --------------------------------------------------------------------------------------------------------------- parts

_INTO: dict[str, Callable[..., Any]] = {
    "mm": torch.mm,
    "addmm": torch.addmm,
    "bmm": torch.bmm,
    "baddbmm": torch.baddbmm,
}
_ATTENTION = "_scaled_dot_product_"


def _products_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Product]:
    """The products that the operation `func` computes; for all but a few, none."""
    name = func.overloadpacket.__name__ if func.namespace == "aten" else ""
    if name.removesuffix("_") in _INTO:
        left, right = args[-2:]
        return [_as_it_was(name, args, kwargs, 2 * left.numel() * right.shape[-1])]
    if name == "convolution":
        image, weight, transposed = args[0], args[1], args[6]
        out = func(*_on_meta(args), **kwargs)
        return [_as_it_was(name, args, kwargs, _of_convolution(image, weight, out, transposed))]
    if name == "convolution_backward":
        gradient, image, weight, transposed, wanted = args[0], args[1], args[2], args[7], args[10]
        once = _of_convolution(image, weight, gradient, transposed)
        return [_as_it_was(name, args, kwargs, once * (wanted[0] + wanted[1]))]
    if name.startswith(_ATTENTION) and name.removeprefix(_ATTENTION) != "attention":
        backward = name.endswith("_backward")
        query, key, value = args[1:4] if backward else args[:3]
        return _of_attention(query, key, value, backward=backward)
    return []


def _as_it_was(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], count: int) -> Product:
    return Product(name, tuple(map(_frozen, args)), count, tuple(sorted(kwargs.items())))


def _frozen(argument: Any) -> Any:
    if isinstance(argument, Tensor):
        return Operand.of(argument)
    return tuple(argument) if isinstance(argument, list) else argument


def _on_meta(args: tuple[Any, ...]) -> list[Any]:
    return [torch.empty_like(one, device="meta") if isinstance(one, Tensor) else one for one in args]


def _of_convolution(image: Tensor, weight: Tensor, out: Tensor, transposed: bool) -> int:
    """Floating-point operations: every number of the output (transposed: of the input) meets one filter."""
    met = image if transposed else out
    return 2 * met.numel() * prod(weight.shape[1:])


def _of_attention(query: Tensor, key: Tensor, value: Tensor, *, backward: bool) -> list[Product]:
    """The products of attention, of queries (B, h, N, d), keys (B, h, M, d) and values (B, h, M, e)."""
    *batch, n, d = query.shape
    m, e = value.shape[-2:]
    one = prod(batch)

    def product(rows: int, columns: int, inner: int, *, left: bool = False, right: bool = False) -> Product:
        """(rows, inner) x (inner, columns), where `left` or `right` is stored transposed."""
        first = (inner * rows, 1, rows) if left else (inner * rows, inner, 1)
        second = (inner * columns, 1, inner) if right else (inner * columns, columns, 1)
        a = Operand((one, rows, inner), first, query.dtype)
        b = Operand((one, inner, columns), second, query.dtype)
        return Product("bmm", (a, b), 2 * one * rows * columns * inner)

    if not backward:
        return [product(n, m, d, right=True), product(n, e, m)]  # q k', p v
    return [
        product(m, e, n, left=True),  # dv = p' do
        product(n, m, e, right=True),  # dp = do v'
        product(n, d, m),  # dq = ds k
        product(m, d, n, left=True),  # dk = ds' q
    ]
