"""What the methods of a study cost an image on this machine: operations counted, seconds measured for ten seconds.

Operations are those of a step's matrix products (see `bench.products`), recorded on tensors without numbers, so that a
large model costs no time; a method's hyperparameters are those in the middle of the values that are searched. Seconds
are of real steps with random weights on drawn images, at the study's batch, image size and precision, of as many
methods as there is time for: the dearest, the cheapest, the one between, and so on. The others take theirs by their
operations, at the rate of the nearest that was timed.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from petl_study import backbones, frozen, memory, methods, training
from petl_study.bench import products, subjects, turns
from petl_study.bench.subjects import Drawn
from petl_study.bench.turns import Clock
from petl_study.errors import InputError
from petl_study.spec import MethodSpec, StudySpec

SECONDS = 10.0  # of steps on the clock
_STEP = 1.0  # that one of them may take: of a large model fewer images at once are timed
_SQUARE = 1024  # a side of the matrices by which it is guessed how many
_NOT_WITHOUT_NUMBERS = (RuntimeError, NotImplementedError, TypeError, ValueError, IndexError)


@dataclass
class Work:
    """Of one image: floating-point operations, and seconds, NaN until they are known."""

    flops: float = 0.0
    seconds: float = math.nan


@dataclass
class Cost:
    """What a method costs.

    Attributes
    ----------
    train, ask : Work
        A step of training and prediction, of the part of the model that learns where it is cut.
    before : Work, optional
        The frozen part of a model that is cut: once an image.
    whole : Work
        A step of training through the whole model.
    build_seconds : float
        To make a model of a backbone that was read before.
    held_bytes : int
        What a worker holds at its peak, beside what it held before there was a model.
    timed : bool
        Whether seconds are of this method's own steps.
    reason : str
        Why there is no cost: it has no meaning on the backbone.
    """

    method: str
    hyperparameters: dict[str, Any]
    train: Work = field(default_factory=Work)
    ask: Work = field(default_factory=Work)
    before: Work | None = None
    whole: Work = field(default_factory=Work)
    build_seconds: float = 0.0
    held_bytes: int = 0
    timed: bool = False
    reason: str = ""


@dataclass
class _Subject:
    """A method's model and its cost, while it is looked at."""

    cost: Cost
    model: nn.Module
    cut: frozen.Cut | None
    stored: int  # bytes of an image that wait for the way back
    learns: int  # bytes


@dataclass(frozen=True)
class Bench:
    """On what steps are timed: the study's protocol, images of its size, the plain model."""

    study: StudySpec
    device: str
    image_size: int
    plain: nn.Module
    clock: Clock

    @property
    def at_once(self) -> int:
        return training.micro_batch(self.image_size**2, self.study.protocol, self.device)

    def images(self, count: int) -> Drawn:
        size, classes = self.image_size, self.plain.num_classes
        drawn = torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))
        labels = torch.arange(count) % int(classes)  # type: ignore[arg-type]
        return Drawn(drawn.to(self.device), labels.to(self.device), size**2)


def costs(study: StudySpec, classes: int, device: str) -> list[Cost]:
    """The cost of every method of `study`, and of the backbone alone, ``plain``, at the end."""
    size = study.protocol.image_size or backbones.info(study.backbone).image_size
    plain = _plain(study, classes, size).to(device)
    bench = Bench(study, device, size, plain, Clock(device))
    known = [_counted(method, bench) for method in [*study.methods, None]]
    there = [one for one in known if isinstance(one, _Subject)]
    _time(there, bench)
    _by_operations([one.cost for one in there])
    return [one.cost if isinstance(one, _Subject) else one for one in known]


# ------------------------------------------------------------------------------------------------------------- counted


def _plain(study: StudySpec, classes: int, size: int) -> nn.Module:
    try:
        return subjects.plain(study.backbone, study.protocol.drop_path, classes=classes, image_size=size)
    except InputError:  # no model of timm alone
        return backbones.create(study.backbone, classes, drop_path=study.protocol.drop_path, image_size=size)


def _counted(method: MethodSpec | None, bench: Bench) -> _Subject | Cost:
    """The model of `method` (None: the backbone alone), and its operations."""
    name = method.name if method else "plain"
    values = {key: given[len(given) // 2] for key, given in method.space.items()} if method else {}
    cost, two = Cost(name, values), bench.images(2)
    started = bench.clock.now()
    model = copy.deepcopy(bench.plain)
    if method:
        try:
            methods.create(name, **values).apply(model, [(two.images, two.labels)])
        except InputError as reason:
            cost.reason = str(reason)
            return cost
    cost.build_seconds = bench.clock.now() - started
    learns = {key: p for key, p in model.named_parameters() if p.requires_grad} if method else {}
    cut = None
    if method:
        if bench.study.protocol.drop_path_in == "tuned":
            frozen.still(model, learns)
        augments = bench.study.protocol.augmentation != "none"
        cut = None if augments else frozen.cut(model, learns, two.images)
    whole, asked, stored = _operations(model, bench, trains=bool(learns))
    cost.whole.flops, cost.train.flops, cost.ask.flops = whole, whole, asked
    if cut:
        with torch.no_grad():
            made: list[Tensor] = []
            cost.before = Work(products.flops(products.record(lambda: made.append(cut.before(two.images)))) / 2)
        cost.train.flops, stored = _step_operations(cut.rest.train(), made[0], two.labels)
        cost.ask.flops = asked - cost.before.flops
    return _Subject(cost, model, cut, stored, sum(p.nbytes for p in learns.values()))


def _operations(model: nn.Module, bench: Bench, *, trains: bool) -> tuple[float, float, int]:
    """Of one image: operations of a training step and of prediction, and the bytes that wait for the way back."""
    some = bench.images(2)
    try:
        blank = copy.deepcopy(model).to("meta")
        images, labels = some.images.to("meta"), some.labels.to("meta")
        asked = _asked(blank, images)
    except _NOT_WITHOUT_NUMBERS:  # it looks at the numbers
        blank, images, labels = model, some.images, some.labels
        asked = _asked(blank, images)
    if not trains:
        return 0.0, asked, 0
    step, stored = _step_operations(blank.train(), images, labels)
    blank.eval().zero_grad(set_to_none=True)
    return step, asked, stored


def _asked(model: nn.Module, images: Tensor) -> float:
    with torch.no_grad():
        return products.flops(products.record(lambda: model.eval()(images))) / len(images)


def _step_operations(model: nn.Module, inputs: Tensor, labels: Tensor) -> tuple[float, int]:
    """Of one example: operations of the ways there and back, and the bytes that wait between them."""
    own = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    kept: dict[int, Tensor] = {}  # by where they lie; held, so that no other is put there

    def keep(tensor: Tensor) -> Tensor:
        if (where := tensor.untyped_storage()._cdata) not in own:
            kept[where] = tensor
        return tensor

    def step() -> None:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = F.cross_entropy(model(inputs).float(), labels)
        loss.backward()

    counted = products.flops(products.record(step)) / len(inputs)
    return counted, sum(tensor.untyped_storage().nbytes() for tensor in kept.values()) // len(inputs)


# --------------------------------------------------------------------------------------------------------------- timed


def _time(known: list[_Subject], bench: Bench) -> None:
    """Time steps of the plain model and of as many methods as `SECONDS` allow, and set what each worker holds."""
    square = products.Products([products.square(_SQUARE, torch.float32)], bench.device)
    square()
    rate = 2 * _SQUARE**3 / bench.clock(square)
    began, factors = time.perf_counter(), []
    for number, one in enumerate(_in_order(known)):
        if number > 1 and time.perf_counter() - began > SECONDS:
            break
        trains = one.cost.method != "plain"
        flops = one.cost.train.flops if trains else one.cost.ask.flops
        part = max(1, min(bench.at_once, int(_STEP * rate / max(flops, 1.0))))
        memory.restart_peak()
        before = memory.peak()
        _time_one(one, bench, part)
        one.cost.timed = True
        if trains and not one.cut and not bench.device.startswith("cuda"):
            factors.append((memory.peak() - before) / max(_step_bytes(one, part), 1))
    # What the allocator and passing values add to what is derived, as seen on the methods that were timed.
    factor = max(1.0, sum(factors) / len(factors)) if factors else 1.0
    weights = sum(parameter.nbytes for parameter in bench.plain.parameters())
    for one in known:
        part = bench.at_once if not one.cut else bench.study.protocol.batch_size
        one.cost.held_bytes = 2 * weights + int(factor * _step_bytes(one, part))  # the backbone, and a trial's copy


def _step_bytes(one: _Subject, part: int) -> int:
    """What a step of `part` images holds: gradients, two moments, the values that learning started at, activations."""
    return 4 * one.learns + part * one.stored


def _in_order(known: list[_Subject]) -> list[_Subject]:
    """The plain model, then the dearest method, the cheapest, the one between, and those between these."""
    plain, ranked = known[-1], sorted(known[:-1], key=lambda one: one.cost.train.flops, reverse=True)
    order, spans = [0, len(ranked) - 1], [(0, len(ranked) - 1)]
    for low, high in spans:
        if high - low > 1:
            middle = (low + high) // 2
            order.append(middle)
            spans += [(low, middle), (middle, high)]
    return [plain, *(ranked[i] for i in dict.fromkeys(order) if ranked)]


def _time_one(one: _Subject, bench: Bench, part: int) -> None:
    """Seconds an image of one method's training step and prediction."""
    protocol, device = bench.study.protocol, torch.device(bench.device)
    examples, model = bench.images(part), one.model
    if one.cut:
        with torch.no_grad(), training.precisely(protocol.precision, device):
            made = one.cut.before(examples.images)
        repeat = max(1, min(bench.at_once, 64) // part)
        made, labels = made.repeat(repeat, *[1] * (made.ndim - 1)), examples.labels.repeat(repeat)
        examples, model = Drawn(made, labels, 0), one.cut.rest
    count = len(examples.labels)
    one.cost.ask.seconds = _fastest(lambda: training.ask(model, examples, protocol.precision), bench) / count
    learns = {name: parameter for name, parameter in one.model.named_parameters() if parameter.requires_grad}
    if one.cost.method == "plain":
        return
    groups = training.parameter_groups(learns, 1e-4, protocol)
    optimizer = torch.optim.AdamW(groups, lr=1e-6, fused=True)
    model.train()
    step = _fastest(
        lambda: training.step(model, optimizer, examples.images, examples.labels, protocol, count), bench
    )  # fmt: skip
    one.cost.train.seconds = step / count
    optimizer.zero_grad(set_to_none=True)


def _fastest(work: Callable[[], object], bench: Bench) -> float:
    """The median of three after one that warms up; of long ones, of one."""
    first = bench.clock(work)
    return turns.quartiles([bench.clock(work) for _ in range(3 if first < _STEP / 4 else 1)]).middle


def _by_operations(known: list[Cost]) -> None:
    """Seconds of what was not timed, from operations at the rate of the nearest that was."""
    plain = known[-1]
    timed = [one for one in known[:-1] if one.timed and not one.before]
    for one in known:
        if one.before:
            one.before.seconds = one.before.flops * plain.ask.seconds / plain.ask.flops
        if not one.timed:
            likewise = [other for other in timed if bool(other.before) == bool(one.before)]
            for mine, of in ((one.train, lambda c: c.train), (one.ask, lambda c: c.ask)):
                near = min(likewise or timed or [plain], key=lambda other: abs(of(other).flops - mine.flops))
                per = of(near) if not math.isnan(of(near).seconds) else near.ask
                mine.seconds = mine.flops * per.seconds / per.flops
    for one in known:
        one.whole.seconds = one.train.seconds
        if one.before:  # through the frozen part in every step
            one.whole.seconds = one.train.seconds + one.before.seconds
