"""What records say as TensorBoard's event files: DIR/runs/<task>/<method>/<key>/events.out.tfevents.petl_study."""

from __future__ import annotations

import tempfile
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from petl_study.export._said import Said

FILE = "events.out.tfevents.petl_study"  # TensorBoard's own name for it tells host and process
_FINAL = "final"


def write(records: list[Said], out: Path) -> str:
    """Write one event file a record below `out`; returns what was written, in words."""
    for one in records:
        directory = out / one.place
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".writing-", dir=out) as temporary:
            _write(one, Path(temporary))
            [made] = Path(temporary).iterdir()
            made.replace(directory / FILE)
    return f"{len(records)} records as event files"


def _write(one: Said, directory: Path) -> None:
    """Curves by epoch, results after the last, and what TensorBoard's table of hyperparameters is made of."""
    began, last = one.written - one.seconds, max((epoch for epoch, _ in one.curve), default=0)
    finals = {f"{_FINAL}/{name}": value for name, value in one.results.items()}
    with SummaryWriter(str(directory)) as writer:
        for epoch, values in one.curve:
            for name, value in values.items():
                writer.add_scalar(name, value, epoch, walltime=began + one.seconds * epoch / last)
        for name, value in finals.items():
            writer.add_scalar(name, value, last, walltime=one.written)
        settings = {**one.made_under, **one.settings}
        shown = {name: value for name, value in finals.items() if name.endswith("/accuracy")}
        for summary in hparams(settings, shown):
            writer.file_writer.add_summary(summary, walltime=one.written)
        if one.error:
            writer.add_text("error", one.error, last, walltime=one.written)
