"""A trial's model and the examples that it takes: trained on some, asked about others, what is frozen computed once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from petl_study import backbones, frozen, methods, places, tasks, training
from petl_study.augmentation import Augmentation
from petl_study.checkpoint import Checkpoint
from petl_study.inputs import Activations, Inputs, Normalisation, Pixels
from petl_study.tasks import Split, Task

if TYPE_CHECKING:
    from petl_study.trials import Trial


BACKEND = "inductor"  # of torch.compile


def compile_blocks(model: nn.Module) -> None:
    """Compile every stage of `model` by itself, in place; a model of no known family stays as it is.

    Stages that are built alike share their code, with those of the process's next trials too: the first trial of a
    method pays. Sums may come out in another order, as rounding shows.
    """
    names = methods.trunk(model)
    if names is None:
        return
    # One code of a block serves every method and size of a study; torch gives up compiling it anew after 8.
    torch._dynamo.config.recompile_limit = torch._dynamo.config.accumulated_recompile_limit = 4096
    for stage in model.get_submodule(names[0]):  # type: ignore[attr-defined]
        stage.compile(backend=BACKEND)


class Learning:
    """A model, as `models.build` made it for `trial`.

    Attributes
    ----------
    reused_seconds : float
        What it took to compute what is kept of the frozen part of the model, wherever this process did so before: a
        trial's cost is that of the trial alone, whatever came before it.
    """

    def __init__(self, model: nn.Module, trial: Trial, task: Task, normalise: Normalisation) -> None:
        self._model, self._trial, self._task, self._normalise = model, trial, task, normalise
        self._device = next(iter(model.parameters())).device
        self._parameters = methods.trainable_parameters(model, classifier=True)
        self._precision = trial.protocol.precision
        if trial.protocol.drop_path_in == "tuned":
            frozen.still(model, self._parameters)
        self._cut = self._in_two()
        if places.here().compile:
            compile_blocks(model)
        self._last: NDArray[np.float32] | None = None
        self.reused_seconds = 0.0

    def fit(
        self, *, start: Checkpoint | None = None, leave: Callable[[Checkpoint], None] | None = None
    ) -> list[dict[str, float]]:
        """Train the model, in place: the curve, a row an epoch, in a search with what validation says after it.

        `start` and `leave` as in `training.fit`.
        """
        trial = self._trial
        if trial.fit == "none":
            return []
        learned, looked = self._inputs(trial.fit, trains=True), None
        model = self._rest(learned)
        if trial.kind == "trial":
            looked = self._inputs("val")

        def look_at_val() -> dict[str, float]:
            assert looked is not None
            self._last = training.ask(self._rest(looked), looked, self._precision)
            result = training.score(self._last, looked.labels.cpu().numpy())
            return {"val_accuracy": result["accuracy"], "val_loss": result["loss"]}

        return training.fit(
            model,
            self._parameters,
            learned,
            trial.protocol,
            lr=trial.lr,
            weight_decay=trial.weight_decay,
            order=trial.seed,
            after_epoch=look_at_val if looked is not None else dict,
            start=start,
            stop=trial.until,
            leave=leave,
        )

    def ask(self, name: str) -> NDArray[np.float32]:
        """Logits of the examples of set `name`: (N, C), or (N, K) where it asks about K classes only."""
        if name == "val" and self._last is not None:
            return self._last
        examples, only = self._inputs(name), self._split(name).only
        logits = training.ask(self._rest(examples), examples, self._precision)
        return logits if only is None else logits[:, only]

    def _split(self, name: str) -> Split:
        return self._task.split(name, self._trial.protocol.view)

    def _rest(self, examples: Inputs) -> nn.Module:
        """The part of the model that takes `examples` as they are."""
        return self._cut.rest if self._cut and isinstance(examples, Activations) else self._model

    def _inputs(self, name: str, *, trains: bool = False) -> Inputs:
        """Set `name` as the frozen part of the model leaves it where it has one, or else as images."""
        augments = trains and self._trial.protocol.augmentation != "none"
        if self._cut and not augments and (activations := self._activations(name)):
            return activations
        augment = Augmentation(self._trial.protocol.augmentation, self._trial.seed) if augments else None
        return Pixels(self._split(name), self._normalise, self._device, augment=augment, hold=trains or name == "val")

    def _activations(self, name: str) -> Activations | None:
        assert self._cut is not None
        pieces = [self._made(piece) for piece in (("train", "val") if name == "trainval" else (name,))]
        made = [piece for piece in pieces if piece]
        if len(made) < len(pieces):
            return None
        self.reused_seconds += sum(piece.reused_seconds for piece in made)
        whole = torch.cat([piece.activations for piece in made]) if len(made) > 1 else made[0].activations
        split, alone = self._split(name), isinstance(self._cut.rest, frozen.Classifier)
        _, height, width, _ = split.pixels.shape
        return Activations(whole, split.labels, 0 if alone else height * width)

    def _made(self, name: str) -> frozen.Made | None:
        assert self._cut is not None
        trial = self._trial
        what = (tasks.fingerprint(trial.data), name, trial.protocol.view, self._normalise)
        model = (trial.backbone, backbones.info(trial.backbone).weights, self._cut.place)
        how = (trial.protocol.precision, str(self._device), torch.get_num_threads())
        images = Pixels(self._split(name), self._normalise, self._device, hold=False)
        with training.precisely(self._precision, self._device):
            return frozen.made(self._cut, images, (*what, *model, *how), training.asked_at_once(images))

    def _in_two(self) -> frozen.Cut | None:
        images = Pixels(self._split("val"), self._normalise, self._device, hold=False)(slice(2))
        with training.precisely(self._precision, self._device):
            return frozen.cut(self._model, self._parameters, images)
