"""A finished run as a plain timm checkpoint: `petl-study export RUN --merged`.

The run's backbone is made anew, gets the tuned tensors, and the method is folded into it. What is written is read back
the way anyone would read it, `timm.create_model("local-dir:DIR", pretrained=True)`, and asked about the run's test
split: it is kept only if it says what the run's record says.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import timm
import torch
from numpy.typing import NDArray
from timm.data import resolve_model_data_config  # type: ignore[attr-defined]
from torch import nn

from petl_study import __version__, backbones, methods, models, store, tasks, training, trials
from petl_study.console import console
from petl_study.errors import InputError, NotMergeable
from petl_study.images import Resize
from petl_study.images.view import MARGIN
from petl_study.inputs import Normalisation
from petl_study.protocols import Precision
from petl_study.store import Record
from petl_study.trials import Trial

# What the exported logits may differ by, as a fraction of the largest stored logit, beside the rounding of logits that
# were stored in float16. Folding in float32 costs some 1e-6; wrong weights, means or image sizes cost far more.
TOLERANCE: dict[Precision, float] = {"fp32": 1e-4, "bf16": 5e-2}  # bf16 has 8 bits, and folding rounds elsewhere
LISTED = 20  # runs that an error names
# How timm's own transform shows images as the protocol's view does; images taken as they are need none.
_SEEN_BY_TIMM: dict[Resize, dict[str, Any]] = {
    "none": {},
    "direct": {"crop_mode": "squash", "crop_pct": 1.0, "interpolation": "bicubic"},
    "crop": {"crop_mode": "center", "interpolation": "bicubic"},
}
_KINDS = {"trial": "a search trial", "ensemble": "an ensemble"}


def run(directory: Path, out: Path | None = None, device: str = "cpu") -> int:
    """Export the run at `directory` to `out`; 0 when it is written, 1 when its logits are not the stored ones.

    Raises
    ------
    InputError
        There is no finished run, what it was made from is not here, its method cannot be merged, or `out` is taken.
    """
    record = find(directory)
    out = out or Path("exports") / f"{record.spec['task']}-{store.safe_name(record.spec['method'])}-{record.key}"
    _require_free(out)
    model, normalise = rebuild(record, device)
    try:
        methods.merge(model)
    except NotMergeable as error:
        raise InputError(
            f"{error} There is no plain checkpoint of this run; petl_study itself loads the model with its method on:"
            f" petl_study.export.load({str(record.path)!r})."
        ) from None
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".writing-", dir=out.parent))
    try:
        _write(model, temporary, record, normalise)
        same = _compare(record, predict(temporary, trials.trial_of(record), device))
        if same:
            for path, mode in ((temporary, 0o755), (temporary / "model.safetensors", 0o644)):
                path.chmod(mode)  # both are made for their owner alone, but a checkpoint is there to be shared
            temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    if not same:
        print(f"petl-study: {out} was not written: the exported model is not the one of the run.", file=sys.stderr)  # noqa: T201
        return 1
    _say(f'{out}: written. timm 1.0.26 and newer read it: timm.create_model("local-dir:{out}", pretrained=True)')
    return 0


def load(directory: str | Path, device: str = "cpu") -> nn.Module:
    """The tuned model of the run at `directory`, in evaluation mode, with its method still on it."""
    return rebuild(find(Path(directory)), device)[0]


def find(directory: Path) -> Record:
    """The finished run at `directory`.

    Raises
    ------
    InputError
        There is none; where runs lie beneath, the message lists them.
    """
    if (directory / "record.json").is_file():
        record = store.read(directory)
        if record.header["kind"] != "run":
            raise InputError(
                f"{directory} is {_KINDS[record.header['kind']]}, which keeps no tensors; give one of a study's"
                " runs/<task>/<method>/<key>."
            )
        if record.failed:
            raise InputError(f"{directory} has nothing to export: the run failed, {record.header['error']['message']}.")
        return record
    found = sorted(path.parent for path in directory.glob("**/record.json"))
    if runs := [path for path in found if path.resolve().parents[2].name == "runs"]:  # runs/<task>/<method>/<key>
        lines = [f"  {path}  {_outcome(store.read(path))}" for path in runs[:LISTED]]
        more = [f"  and {len(runs) - LISTED} more"] if len(runs) > LISTED else []
        raise InputError("\n".join([f"{directory} is no run, but holds {len(runs)}; give one:", *lines, *more]))
    raise InputError(f"{directory} is no run: it has no record.json. Give STUDY/runs/<task>/<method>/<key>.")


def rebuild(record: Record, device: str = "cpu") -> tuple[nn.Module, Normalisation]:
    """The tuned model of a run, in evaluation mode and with its method still on it, and what its inputs go through.

    Raises
    ------
    InputError
        The task's data, the backbone's weights or the protocol are not those that the run was made with.
    """
    spec = record.spec
    if "tuned.safetensors" not in record.header["files"]:
        raise InputError(
            f"{record.path} has no tuned tensors: its study does not keep those of {spec['method']}. Run it again as a"
            " study that does, `keep: {tensors: true}`."
        )
    trial = trials.rebuildable(record)
    model, normalise = models.build(trial, tasks.load(trial.data), device)
    tensors = {name: torch.from_numpy(tensor) for name, tensor in record.tensors().items()}
    methods.load_state_dict(model, tensors)
    return model.eval(), normalise


def predict(directory: Path, trial: Trial, device: str = "cpu") -> NDArray[np.float32]:
    """Logits (N, C) of the task's test split from the timm checkpoint in `directory`, normalised as its config says."""
    model = timm.create_model(f"local-dir:{directory}", pretrained=True).to(device)
    config = resolve_model_data_config(model)
    test = tasks.load(trial.data).split("test", trial.protocol.view)
    return training.predict(model, test, Normalisation(config["mean"], config["std"]), trial.protocol.precision)


# -------------------------------------------------------------------------------------------------------------- writing


def _write(model: nn.Module, directory: Path, record: Record, normalise: Normalisation) -> None:
    tensors = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
    safetensors.torch.save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    config = json.dumps(_config(model, record, normalise), indent=2, ensure_ascii=False)
    (directory / "config.json").write_text(config, encoding="utf-8")


def _config(model: nn.Module, record: Record, normalise: Normalisation) -> dict[str, Any]:
    """The model as timm's `create_model` makes it, and under a key of our own where it comes from."""
    trial = trials.trial_of(record)
    size = tasks.load(trial.data).split("test", trial.protocol.view).pixels.shape[1]
    architecture, arguments = backbones.architecture(record.spec["backbone"], size)
    known = timm.get_pretrained_cfg(architecture)
    assert known is not None  # `create_model` knows the architecture
    inputs = resolve_model_data_config(model)
    inputs |= _SEEN_BY_TIMM[trial.protocol.resize]
    if trial.protocol.resize == "crop":
        inputs["crop_pct"] = size / round(size * MARGIN)
    classes = record.header["task"]["classes"]
    return {
        "architecture": architecture,
        "num_classes": len(classes),
        "num_features": model.num_features,
        "global_pool": getattr(model, "global_pool", ""),
        "label_names": classes,
        "model_args": arguments,
        "pretrained_cfg": {
            "num_classes": len(classes),
            **{key: getattr(known, key) for key in ("fixed_input_size", "first_conv", "classifier")},
            **{key: inputs[key] for key in ("input_size", "interpolation", "crop_pct", "crop_mode")},
            "mean": normalise.mean,
            "std": normalise.std,
        },
        "petl_study": {
            "version": __version__,
            "study": record.header["study"]["name"],
            "run": record.key,
            "spec": record.spec,
            "test": record.header["results"]["test"],
        },
    }


def _require_free(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists and is not an empty directory; it is left as it is. Choose another --out.")


def _compare(record: Record, logits: NDArray[np.float32]) -> bool:
    """Whether the exported logits are the stored ones; prints the figures."""
    stored, labels = record.logits("test"), record.examples("test")[1]
    allowed = TOLERANCE[trials.trial_of(record).protocol.precision] + float(np.finfo(stored.dtype).eps) / 2
    away, largest = float(np.abs(logits - stored).max()), float(np.abs(stored).max())
    before, after = (training.score(said, labels)["accuracy"] for said in (stored, logits))
    same = away <= allowed * largest
    _say(
        f"{record.spec['task']}, {len(labels)} test examples: the exported model's logits differ from the run's by"
        f" {away:.1e} at most, {'within' if same else 'more than'} {allowed:.1e} of the largest ({largest:.1f});"
        f" accuracy {after:.2%}, in the run {before:.2%}."
    )
    return same


def _outcome(record: Record) -> str:
    return "failed" if record.failed else f"test accuracy {record.header['results']['test']['accuracy']:.2%}"


def _say(text: str) -> None:
    console().print(text, markup=False, highlight=False, soft_wrap=True)
