"""The command line. Parsing imports nothing heavy; each command imports what it needs when it runs."""

from __future__ import annotations

import argparse
import importlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from petl_study import __version__, places
from petl_study.console import guarded, leave_at_second_interrupt
from petl_study.devices import require_device
from petl_study.errors import InputError

if TYPE_CHECKING:
    from petl_study.engines import Engine


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code: 0 done, 1 done with failures, 2 wrong input, 130 interrupted."""
    parser = _parser()
    arguments, rest = parser.parse_known_args(argv)
    if "part" in arguments:
        return guarded(lambda: _run_part(arguments.part, rest))
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return guarded(lambda: arguments.run(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="petl-study", description="Compare parameter-efficient fine-tuning methods, fairly."
    )
    parser.add_argument("--version", action="version", version=f"petl_study {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser(
        "run", help="run a study, or go on with one", description="Run a study, or go on with one."
    )
    run.add_argument("study", help="a study file, or the name of one that ships with the package: quickstart")
    _add_run_options(run)
    run.add_argument(
        "--zero-shot",
        action="store_true",
        help="also ask the untouched backbone, under the classifier that it has for the classes; needs no training",
    )
    run.set_defaults(run=lambda a: _run(a.study, a))

    plan = commands.add_parser(
        "plan",
        help="what a study will take on this machine: trials, images, hours, memory",
        description="Say what a study will take on this machine, from ten seconds of its steps, before anything runs.",
    )
    plan.add_argument("study", help="a study file, or the name of one that ships with the package: quickstart")
    _add_run_options(plan)
    plan.add_argument("--json", action="store_true", help="for programs")
    plan.set_defaults(run=_plan)

    quick = commands.add_parser("quickstart", help="run the shipped small study, report on it, and combine its methods")
    _add_run_options(quick)
    quick.set_defaults(run=_quickstart, zero_shot=False)

    status = commands.add_parser("status", help="how far a study is")
    status.add_argument("runs", type=Path, help="the study's directory")
    status.add_argument(
        "--watch",
        type=float,
        nargs="?",
        const=5.0,
        metavar="SECONDS",
        help="draw it anew every so many seconds (default: %(const)g), until all is done or ctrl-C",
    )
    status.set_defaults(run=_status)

    logs = commands.add_parser(
        "logs",
        help="what a record says: settings, machine, epoch by epoch, why it failed",
        description="Show one record whole, or list those of a study.",
    )
    logs.add_argument("runs", metavar="RUN", type=Path, help="STUDY/runs/<task>/<method>/<key>, or STUDY")
    logs.set_defaults(run=_logs)

    export = commands.add_parser(
        "export",
        help="write a run's model as a plain timm checkpoint, or curves for TensorBoard, MLflow and Optuna's dashboard",
        description="Write a finished run's model as a plain timm checkpoint, and show that it says what the run said;"
        " or what records say, of a study or of one run, for another program to show.",
    )
    export.add_argument(
        "directory", metavar="RUN", type=Path, help="STUDY/runs/<task>/<method>/<key>; for --to, STUDY too"
    )
    form = export.add_mutually_exclusive_group()
    form.add_argument("--merged", action="store_true", help="the model, its method folded into the backbone")
    form.add_argument("--to", metavar="PROGRAM", help="tensorboard, mlflow or optuna: curves, settings and results")
    export.add_argument(
        "--out",
        type=Path,
        help="the directory it goes to (default: exports/<task>-<method>-<key>, or exports/<study>-<program>)",
    )
    export.add_argument("--device", default="cpu", help="where it is tried: cpu, cuda ... (default: %(default)s)")
    _add_place_options(export)
    export.set_defaults(run=_export)

    for name, summary in _LISTS.items():
        table = commands.add_parser(name, help=summary)
        table.set_defaults(run=lambda _, name=name: _list(name))
        if name == "methods":
            table.add_argument("name", nargs="?", help="one method: its equation, size, search space and more")
            table.set_defaults(run=_methods)

    for name, (_, summary) in _PARTS.items():
        commands.add_parser(name, help=summary, add_help=False).set_defaults(part=name)
    return parser


_LISTS = {
    "methods": "the methods, their search spaces and sources",
    "tasks": "the tasks",
    "backbones": "the backbones",
    "protocols": "how models are trained and images prepared, by name, and where that comes from",
}
# Commands whose module defines its own options: it is imported only when its command is given.
_PARTS = {
    "check": ("petl_study.check", "say what is wrong with data before a study is run on them: vtab1k, folder:PATH ..."),
    "fsck": ("petl_study.fsck", "check every byte of a study, name what is damaged, and set it aside"),
    "merge": ("petl_study.merge", "put studies of several machines together as one"),
    "diff": ("petl_study.diff", "say what differs between two runs or two studies, and whether they are comparable"),
    "report": ("petl_study.report", "write report.html, tables and figures of a study"),
    "recommend": ("petl_study.recommend", "which method to take for a task, and how much the evidence says"),
    "bench": ("petl_study.bench", "measure seconds and memory beside the plain way of doing the same"),
    "pretrain": ("petl_study.pretraining.cli", "pre-train the embedded backbone from rendered images"),
}


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, help="where results go (default: runs/<name of the study>)")
    parser.add_argument("--engine", default="processes", help="serial, processes or ray (default: %(default)s)")
    parser.add_argument(
        "--workers",
        type=int,
        help="trials at once: on a GPU that one trial does not fill, several share it (default: one a core"
        f" ({os.cpu_count() or 1}), or one a GPU; with ray as many as there is room for)",
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of one trial (default: %(default)s)")
    parser.add_argument(
        "--device", default="cpu", help="cpu, cuda (all GPUs in turn), cuda:1 ... (default: %(default)s)"
    )
    parser.add_argument(
        "--micro-batch",
        type=int,
        metavar="N",
        help="images of a batch that go through the model at once; fewer need less memory (default: all on a GPU,"
        " elsewhere 8 of 224 pixels, or as many smaller ones)",
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        help="compile the backbone's blocks with torch.compile: a minute for every method and size in every worker"
        " (and a C++ compiler, on a CPU), which long studies on a GPU earn back",
    )
    parser.add_argument(
        "--lean",
        action="store_true",
        help="hand memory back as soon as it is free: up to 30 %% less on a CPU with glibc, in 25 to 40 %% more time",
    )
    parser.add_argument(
        "--trial-timeout",
        type=float,
        metavar="SECONDS",
        help="end a trial that takes longer, and store it as failed (default: none is ended)",
    )
    parser.add_argument(
        "--retry-failed",
        action="store_true",
        help="try stored failures again, but for trainings that diverged, which would again",
    )
    _add_place_options(parser)
    _add_cluster_options(parser)


def _add_cluster_options(parser: argparse.ArgumentParser) -> None:
    """The options of --engine ray, None where they are not given; `_cluster` reads them."""
    group = parser.add_argument_group("with --engine ray")
    group.add_argument(
        "--address",
        help="the cluster's, HOST:PORT, or auto for the one that this machine belongs to (default: one is started on"
        " this machine and ends with the study)",
    )
    group.add_argument("--cpus", type=float, help="CPUs that a trial has to itself (default: one a thread)")
    group.add_argument("--gpus", type=float, help="GPUs, or a share of one, such as 0.5 (default: 0; with cuda 1)")
    group.add_argument("--memory-gb", type=float, help="memory, in GB (default: whatever there is)")
    group.add_argument(
        "--results",
        help="shared: workers write into the study's directory, which every node sees (default). driver: they send"
        " their results, and this process writes them",
    )


def _add_place_options(parser: argparse.ArgumentParser) -> None:
    """The options that say where data and decoded images lie; `_use_places` reads them."""
    known = places.here()
    parser.add_argument(
        "--data", type=Path, default=known.data, help="what names of data sets are relative to (PETL_STUDY_DATA, or .)"
    )
    parser.add_argument(
        "--weights",
        type=Path,
        default=known.weights,
        help="what names of weight files are relative to (PETL_STUDY_WEIGHTS, or .)",
    )
    parser.add_argument(
        "--cache-gb",
        type=float,
        default=known.cache_gb,
        help="GB of decoded images kept on disk for later; 0: in memory, in each process (default: %(default)g)",
    )
    parser.add_argument(
        "--on-bad-image",
        choices=("error", "skip"),
        default=known.on_bad_image,
        help="what an image that cannot be read does: stop the study, or be left out (default: %(default)s)",
    )


def _use_places(options: argparse.Namespace) -> None:
    names = ("data", "weights", "cache_gb", "on_bad_image", "micro_batch", "compile", "lean")
    places.use(replace(places.here(), **{name: getattr(options, name) for name in names if name in options}))


# ------------------------------------------------------------------------------------------------------------ commands


def _run(study: str, options: argparse.Namespace) -> int:
    from rich.console import Console

    from petl_study import progress, runner, spec

    _require_run_options(options)
    resolved = spec.load(study)
    if options.zero_shot and not resolved.zero_shot:
        resolved = spec.resolve({**resolved.model_dump(), "zero_shot": True}, study)
    out = options.out or Path("runs") / resolved.name
    leave_at_second_interrupt()
    with _engine(options) as engine, progress.create(resolved, Console(), engine.capacity) as display:
        outcome = runner.run(resolved, out, engine, display, retry_failed=options.retry_failed)
    reused = f", {outcome.stored_before} stored before" if outcome.stored_before else ""
    failed = f", {outcome.failed} failed: see `petl-study status {out}`" if outcome.failed else ""
    Console().print(f"{out}: {outcome.trained} trained{reused}{failed}.", markup=False, highlight=False, soft_wrap=True)
    return 1 if outcome.failed else 0


def _engine(options: argparse.Namespace) -> Engine:
    from petl_study import engines

    given = {name: getattr(options, name) for name in _OF_A_CLUSTER if getattr(options, name) is not None}
    cluster = None
    if options.engine == "ray":
        on_gpu = options.device.startswith("cuda")
        cluster = engines.Cluster(**{"cpus": float(options.threads), "gpus": float(on_gpu), **given})
    elif given:
        asked = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise InputError(f"{asked}: only --engine ray takes that, and this is {options.engine}.")
    return engines.create(
        options.engine,
        workers=options.workers,
        threads=options.threads,
        device=options.device,
        timeout=options.trial_timeout,
        cluster=cluster,
    )


_OF_A_CLUSTER = ("address", "cpus", "gpus", "memory_gb", "results")


def _plan(options: argparse.Namespace) -> int:
    from petl_study import forecast, spec

    _require_run_options(options, here=True)
    study = spec.load(options.study)
    return forecast.show(
        study,
        options.out or Path("runs") / study.name,
        workers=options.workers,
        threads=options.threads,
        device=options.device,
        as_json=options.json,
    )


def _require_run_options(options: argparse.Namespace, *, here: bool = False) -> None:
    """Raise InputError unless they make sense; what is not given of the workers on this machine is set.

    Parameters
    ----------
    here : bool
        This machine computes, whatever the engine.
    """
    here = here or options.engine != "ray"
    if options.workers is None and here:
        options.workers = _gpus(options.device) or os.cpu_count() or 1
    for name in ("workers", "threads"):
        if (value := getattr(options, name)) is not None and value < 1:
            raise InputError(f"--{name} must be a whole number of at least 1, got {value}.")
    if options.trial_timeout is not None and not options.trial_timeout > 0:
        raise InputError(f"--trial-timeout must be a positive number of seconds, got {options.trial_timeout:g}.")
    if here:
        require_device(options.device)
    _use_places(options)


def _gpus(device: str) -> int:
    import torch

    if device == "cuda":
        return torch.cuda.device_count()
    return 1 if device.startswith("cuda") else 0


def _export(options: argparse.Namespace) -> int:
    if options.to is not None:
        from petl_study import export

        return export.to(options.to, options.directory, options.out)
    if not options.merged:
        raise InputError(
            "export writes a run's model with its method folded into the backbone: say so with --merged; or what"
            " records say, --to tensorboard, mlflow or optuna. The tuned tensors alone, unmerged, are"
            f" {options.directory / 'tuned.safetensors'}."
        )
    require_device(options.device)
    _use_places(options)
    from petl_study.export import merged

    return merged.run(options.directory, options.out, options.device)


def _run_part(name: str, argv: list[str]) -> int:
    module, summary = _PARTS[name]
    part = importlib.import_module(module)
    parser = argparse.ArgumentParser(prog=f"petl-study {name}", description=summary)
    part.add_arguments(parser)
    code: int = part.run(parser.parse_args(argv))
    return code


def _quickstart(options: argparse.Namespace) -> int:
    from petl_study import ensemble, report

    options.out = options.out or Path("runs/quickstart")
    code = _run("quickstart", options)
    code = max(code, ensemble.main([str(options.out), "--task", "digits", "--methods", "all"]))
    print(f"\nreport: {report.build(options.out)}")  # noqa: T201 (last, so that it shows the ensemble too)
    return code


def _status(options: argparse.Namespace) -> int:
    if options.watch is not None:
        from petl_study.watch import watch

        return watch(options.runs, options.watch)
    from petl_study.status import show

    return show(options.runs)


def _logs(options: argparse.Namespace) -> int:
    from petl_study.logs import show

    return show(options.runs)


def _methods(options: argparse.Namespace) -> int:
    from petl_study import listing

    if options.name is None:
        listing.methods()
    else:
        listing.method(options.name)
    return 0


def _list(name: str) -> int:
    from petl_study import listing

    getattr(listing, name)()
    return 0
