"""A module of the backbone with something added to it."""

from __future__ import annotations

from torch import Tensor, nn

from petl_study.errors import NotMergeable


class Wrapper(nn.Module):
    """Takes the place of `base` at its site and computes what `base` computes plus what the method adds.

    `alpha` is the point on the method's weight-space path: 0 is `base` alone, 1 the tuned module. Every parameter and
    buffer of a wrapper outside `base` belongs to the method. Those that are `derived`, made again from the
    hyperparameters and the backbone whenever the method is applied, are neither trained nor kept.
    """

    derived: frozenset[str] = frozenset()

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base
        self.alpha = 1.0

    def unfoldable(self) -> str | None:
        """Why this cannot be written as plain weights of `base`; None where it can."""
        return "it computes something that the plain module has no weights for"

    def fold(self) -> nn.Module:
        """`base`, changed in place so that it computes what this wrapper computes at its present `alpha`."""
        raise NotMergeable(self.unfoldable())

    def extra_repr(self) -> str:
        return f"alpha={self.alpha:g}"


def added(wrapper: Wrapper) -> dict[str, Tensor]:
    """The method's own tensors in `wrapper`, by name: those that are not `base`'s and not derived."""
    own = [*wrapper.named_parameters(), *wrapper.named_buffers()]
    return {name: tensor for name, tensor in own if not name.startswith("base.") and name not in wrapper.derived}
