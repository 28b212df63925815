"""GPS: of each neuron's connections, tune the few that the task pulls hardest (Zhang et al., arXiv 2312.10136).

    W' = W + a E        E (o, i): zero but for K numbers a row, at the K largest |dL / dW| of the row

a is 1 for the tuned model, 0 for the pre-trained one. W is the weight of every linear layer and convolution but the
classifier's, a row the connections of one neuron (a kernel's i = c h w). As in the authors' code, tensors with one
number a neuron are trained whole (biases, LayerScale's gains), and so is Swin's table of position biases, while norms,
position embeddings and class tokens are frozen. L needs no classifier: it is the supervised contrastive loss (arXiv
2004.11362) of the features before it, over two views of each image of a batch,

    L = mean over n of  -1/|P(n)| sum_{p in P(n)} log( exp(z_n z_p / t) / sum_{m != n} exp(z_n z_m / t) )

with z the features at unit length, P(n) the other views of n's class and t the temperature. Gradients are summed over
one pass through the task's batches. A batch's images are contrasted with each other and with no others, so the choice
depends on how the data are batched: shuffle them. The second view is the mirror image, and dropout is off, where the
authors draw two random crops: the choice is the same for the same data, and an image alone of its class has its own
mirror image for company.

E is zero at the start, so the untrained model is the pre-trained one. Trains (K + 1)(9 L + 1) d numbers in a ViT with L
blocks of width d and an MLP of 4 d (ViT-B/16, K = 1: 167,424). `connections` is searched over what the released
VTAB-1K configurations hold; on larger data they go to 20. Folds into W.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from petl_study.errors import InputError
from petl_study.methods._base import Data, Method, fixed, register, searched
from petl_study.methods._parameters import norms
from petl_study.methods._state import classifier_names
from petl_study.methods._task import batches, evaluating
from petl_study.methods._wrapper import Wrapper


@register("gps", paper="Zhang et al., CVPR 2024, arXiv 2312.10136")
@dataclass(frozen=True)
class GPS(Method):
    connections: int = searched(1, 1, 2, at_least=1)  # K; a neuron with fewer has all of its own tuned
    temperature: float = fixed(0.07, at_least=1e-3)

    def own(self, model: nn.Module) -> set[str]:
        table = "relative_position_bias_table"
        named = model.named_parameters()
        return {name for name, p in named if p.ndim == 1 or name.endswith(table)} - norms(model)

    def inject(self, model: nn.Module, data: Data | None) -> None:
        places = neurons(model)
        pulls = importance(model, [model.get_submodule(path) for path in places], data, self.temperature)
        for path, pull in zip(places, pulls, strict=True):
            parent, _, name = path.rpartition(".")
            chosen = strongest(pull, self.connections)
            setattr(model.get_submodule(parent), name, Sparse(model.get_submodule(path), chosen))


# ----------------------------------------------------------------------------------------------------------- selection


def neurons(model: nn.Module) -> list[str]:
    """Paths of all linear layers and convolutions but the classifier."""
    classifier = classifier_names(model)
    layers = [path for path, module in model.named_modules() if isinstance(module, (nn.Linear, nn.Conv2d))]
    return [path for path in layers if f"{path}.weight" not in classifier]


def importance(model: nn.Module, layers: list[nn.Module], data: Data | None, temperature: float) -> list[Tensor]:
    """dL / dW of each layer, (o, i), summed over the batches of `data`; nothing of the model changes.

    Raises
    ------
    InputError
        There are no data, or no batch has two images.
    """
    weights: list[Tensor] = [layer.weight for layer in layers]  # type: ignore[misc]
    learned = [weight.requires_grad for weight in weights]
    sums, largest = [torch.zeros_like(weight) for weight in weights], 0
    try:
        for weight in weights:
            weight.requires_grad_(True)
        with evaluating(model), torch.enable_grad():
            for images, labels in batches(model, "gps", data):
                views = torch.cat([images, images.flip(-1)])  # (2 B, 3, H, W)
                features = model.forward_head(model.forward_features(views), pre_logits=True)  # type: ignore[operator]
                if features.ndim != 2:
                    raise InputError(
                        "gps contrasts one feature an image, but the model has global_pool='' and pools nothing;"
                        " make it with global_pool='avg'."
                    )
                loss = contrastive_loss(features.unflatten(0, (2, -1)), labels, temperature)
                for total, gradient in zip(
                    sums, torch.autograd.grad(loss, weights, materialize_grads=True), strict=True
                ):
                    total += gradient
                largest = max(largest, len(images))
    finally:
        for weight, flag in zip(weights, learned, strict=True):
            weight.requires_grad_(flag)
    if largest < 2:
        raise InputError("gps contrasts the images of a batch with each other, but no batch of `data` has two of them.")
    return [total.flatten(1) for total in sums]


def contrastive_loss(features: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Supervised contrastive loss of features (V, B, d), V >= 2 views of each of B images with labels (B,)."""
    z = F.normalize(features.flatten(0, 1), dim=-1)  # (V B, d)
    labels = labels.repeat(len(features))
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    likely = (z @ z.T / temperature).masked_fill(itself, -torch.inf).log_softmax(dim=1)
    friends = (labels[:, None] == labels) & ~itself  # never empty: an image's other views are among them
    return -(likely.masked_fill(~friends, 0).sum(dim=1) / friends.sum(dim=1)).mean()


def strongest(pull: Tensor, count: int) -> Tensor:
    """Where in each row of `pull` (o, i) the `count` largest magnitudes are: (o, K), ascending."""
    return pull.abs().topk(min(count, pull.shape[1]), dim=1).indices.sort(dim=1).values


# -------------------------------------------------------------------------------------------------------------- module


class Sparse(Wrapper):
    """A linear layer or convolution with a change of the chosen connections."""

    chosen: Tensor

    def __init__(self, base: nn.Module, chosen: Tensor) -> None:
        super().__init__(base)
        self.register_buffer("chosen", chosen.int())  # (o, K), columns of the weight as (o, i)
        self.change = nn.Parameter(torch.zeros_like(chosen, dtype=base.weight.dtype))  # type: ignore[arg-type]

    @property
    def weight(self) -> Tensor:
        """W'; some attention reads it past `forward`."""
        weight: Tensor = self.base.weight  # type: ignore[assignment]
        return weight.flatten(1).scatter_add(1, self.chosen.long(), self.alpha * self.change).view_as(weight)

    @property
    def bias(self) -> Tensor | None:
        return self.base.bias  # type: ignore[return-value]

    def forward(self, x: Tensor) -> Tensor:
        return torch.func.functional_call(self.base, {"weight": self.weight}, (x,))

    def unfoldable(self) -> str | None:
        return None

    @torch.no_grad()
    def fold(self) -> nn.Module:
        self.base.weight.copy_(self.weight)  # type: ignore[operator]
        return self.base
