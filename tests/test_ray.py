"""Studies on a Ray cluster: the same bits as anywhere else, and nothing lost with nodes, workers and drivers.

Starting a cluster takes longer than all else here, so only slow tests do. The others call what would run in its
processes in this one.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

import pictures
import toy
from petl_study import cli, engines, places, runner, spec
from petl_study.engines import Cluster, Lost, TimedOut, _cluster, _pool, _ray_worker
from petl_study.engines import ray as ray_engine
from petl_study.engines._pool import Hand, Pool
from petl_study.engines._ray_worker import SIGHT, Worker
from petl_study.errors import DamagedRecord, InputError
from petl_study.places import Places
from petl_study.store import KINDS, Study, write_file

# Files, so that workers must be told where data lie; stopped trials, whose checkpoints must come along.
BRIEF = {"base": "embedded", "name": "brief", "warmup_epochs": 0, "batch_size": 8, "resize": "direct", "image_size": 32}
PETS = {
    "tasks": ["folder:pets"],
    "methods": ["linear", {"lora": {"rank": [1, 2]}}],
    "protocol": {**BRIEF, "epochs": 4},
    "search": {
        "lr": [1e-3, 1e-2],
        "weight_decay": [1e-4],
        "pruner": {"name": "halving", "factor": 2, "first": 1},
    },
    "seeds": [0],
}


class Silent:
    def started(self, trial) -> None: ...

    def finished(self, trial, record, stored_before) -> None: ...

    def without_result(self, task, method, trials) -> None: ...


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Places:
    place = tmp_path_factory.mktemp("data")
    pictures.write_lists(place / "pets", {"train800.txt": 24, "val200.txt": 12, "test.txt": 18})
    return Places(data=place, cache=place / "cache")


@pytest.fixture(autouse=True)
def use_data(data, monkeypatch):
    monkeypatch.setattr(places, "_here", [data])


@pytest.fixture(scope="module")
def pets(tmp_path_factory, data) -> Path:
    """The study as the serial engine makes it."""
    path = tmp_path_factory.mktemp("pets") / "study"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(places, "_here", [data])
        run(path, "serial")
    return path


def run(path: Path, engine: str, cluster: Cluster | None = None, **changes: object) -> runner.Outcome:
    with engines.create(engine, workers=2, threads=1, device="cpu", cluster=cluster) as running:
        return runner.run(spec.resolve(toy.study(**{**PETS, **changes})), path, running, Silent())


def assert_same_bits(one: Path, other: Path) -> None:
    """Files of logits and tensors are the same, byte by byte, and so is what records say but for time and memory."""

    def tensors(path: Path) -> dict[Path, bytes]:
        return {file.relative_to(path): file.read_bytes() for file in path.rglob("*.safetensors")}

    def told(path: Path) -> dict[str, list[object]]:
        fields = ("status", "spec", "results", "parameters", "curve", "selected", "task")
        records = [record for kind in KINDS for record in Study(path).records(kind)]
        return {record.key: [record.header.get(field) for field in fields] for record in records}

    assert tensors(one) == tensors(other)
    assert told(one) == told(other)
    assert not list(other.rglob(".writing-*"))


# ------------------------------------------------------------------------------------------------------ in this process


class Here:
    """In an actor's place: a worker in this process, whose answers are there at once."""

    def __init__(self) -> None:
        self.worker, self.spoil, self.called = Worker(), lambda part: part, []

    def __getattr__(self, name: str) -> SimpleNamespace:
        def remote(*arguments: Any) -> Any:
            self.called.append(name)
            answer = getattr(self.worker, name)(*arguments)
            return self.spoil(answer) if name == "fetch" else answer

        return SimpleNamespace(remote=remote)


class Streamed(ray_engine.Ray):
    """The ray engine with `Here` as its cluster."""

    capacity = 1

    def __enter__(self) -> Streamed:
        self.hand = Hand(Here(), "here")
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, trial, directory) -> Future:
        future: Future = Future()
        future.set_result(self._streamed(self.hand, trial, directory))
        return future


@pytest.fixture
def streamed(monkeypatch) -> Iterator[Streamed]:
    monkeypatch.setattr(ray_engine, "_answer", lambda answer, timeout=None: answer)
    monkeypatch.setattr(ray_engine, "PART", 1000)
    with Streamed(workers=1, threads=1, device="cpu") as engine:
        yield engine
        engine.hand.actor.worker.end()


def test_results_that_are_sent_are_those_that_are_written(streamed, pets, tmp_path):
    study = spec.resolve(toy.study(**PETS))
    outcome = runner.run(study, tmp_path / "s", streamed, Silent())
    assert outcome.failed == 0
    assert_same_bits(pets, tmp_path / "s")
    called = streamed.hand.actor.called
    assert called.count("run_apart") == outcome.trained
    assert called.count("fetch") > 4 * outcome.trained  # files come in parts
    assert called.count("bring") > 4  # checkpoints and selected records go there
    assert streamed.hand.actor.worker._apart is None


def test_a_record_that_changes_on_its_way_is_refused(streamed, tmp_path):
    study = spec.resolve(toy.study(**PETS))
    streamed.hand.actor.spoil = lambda part: part[:-1] + bytes([part[-1] ^ 1]) if part else part
    with pytest.raises(DamagedRecord):
        runner.run(study, tmp_path / "s", streamed, Silent())
    assert not list((tmp_path / "s" / "trials").rglob("*.json"))
    assert not list((tmp_path / "s" / "trials").rglob(".writing-*"))


def test_a_worker_that_does_not_see_the_study_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(_ray_worker, "PATIENCE", 0.0)
    worker, nothing = Worker(), lambda trial, directory, device: "done"
    write_file(tmp_path / SIGHT, b"mine")
    assert worker.run(nothing, None, tmp_path, "cpu", "mine") == "done"
    with pytest.raises(InputError, match=r"directory .* is not seen there\. .*--results driver"):
        worker.run(nothing, None, tmp_path, "cpu", "another driver's")
    with pytest.raises(InputError, match="is not seen there"):
        worker.run(nothing, None, tmp_path / "elsewhere", "cpu", "mine")


class Doomed(ray_engine.Ray):
    """The ray engine with one worker, whose trials end in `error`."""

    error: Exception

    def __enter__(self) -> Doomed:
        hand, self.dropped, self.kept = Hand(None, "10.0.0.1"), [], []
        self._living_hand = lambda trial: hand
        self._pool = SimpleNamespace(drop=self.dropped.append, give_back=self.kept.append)
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def _shared(self, hand, trial, directory) -> None:
        raise self.error


def ends_with(error: Exception, expected: type[Exception], told: str, tmp_path: Path) -> Doomed:
    with Doomed(workers=1, threads=1, device="cpu", timeout=30) as engine:
        engine.error = error
        with pytest.raises(expected, match=told):
            engine._run(toy.trial(), tmp_path)
    assert len(engine.dropped) + len(engine.kept) == 1
    return engine


@pytest.mark.parametrize(
    ("account", "how"),
    [
        ("The actor died.\n\tip: 10.0.0.1\nIts worker process has died. Some common causes: OOM", "its process ended"),
        ("The actor died because its node has died. Node Id: 9f", "so is its machine"),
        ("Task was killed due to the node running low on memory.\nMemory on 10.0.0.1 was 31 GB", "ran out of memory"),
    ],
)
def test_a_worker_that_died_is_lost_and_how_is_told_without_addresses(account, how, tmp_path):
    from ray.exceptions import RayActorError

    engine = ends_with(RayActorError(error_msg=account), Lost, f"^the worker that ran it is gone: .*{how}$", tmp_path)
    assert engine.dropped


def test_a_trial_that_hangs_is_ended_with_its_worker(tmp_path):
    from ray.exceptions import GetTimeoutError

    assert ends_with(GetTimeoutError("no answer"), TimedOut, "ended after 30 s", tmp_path).dropped


def test_what_a_trial_raises_is_told_with_its_node_and_the_worker_stays(tmp_path):
    from ray.exceptions import RayTaskError

    def raised(cause: Exception) -> RayTaskError:
        return RayTaskError("run", "a traceback", cause)

    assert ends_with(raised(InputError("no data")), InputError, r"^on node 10\.0\.0\.1: no data$", tmp_path).kept
    assert ends_with(raised(KeyError("epochs")), KeyError, "epochs", tmp_path).kept


def node(cpus: float = 4, gpus: float = 0, gb: float = 16) -> dict[str, Any]:
    resources = {"CPU": cpus, "memory": gb * 1e9, **({"GPU": gpus} if gpus else {})}
    return {"Alive": True, "NodeManagerAddress": "10.0.0.1", "Resources": resources}


@pytest.mark.parametrize(
    ("asked", "nodes", "slots"),
    [
        ({}, [node(4), node(2.5)], 6),
        ({"cpus": 0.1}, [node(1)], 10),
        ({"cpus": 3}, [node(4), node(2), node(6)], 3),
        ({"gpus": 1}, [node(8, gpus=2), node(8)], 2),
        ({"gpus": 0.5}, [node(8, gpus=2)], 4),
        ({"gpus": 0.4}, [node(8, gpus=2)], 4),  # two on each: nothing is on two GPUs at once
        ({"gpus": 2}, [node(8, gpus=3)], 1),
        ({"memory_gb": 6}, [node(8, gb=16)], 2),
        ({"cpus": 0.5, "memory_gb": 1}, [node(1, gb=16)], 2),
    ],
)
def test_a_cluster_has_room_for_as_many_trials_as_its_nodes_have_what_they_ask(asked, nodes, slots, monkeypatch):
    monkeypatch.setattr(_cluster, "_nodes", lambda: nodes)
    assert Cluster(**asked).slots() == slots


def test_what_no_node_has_is_told_beside_what_they_have(monkeypatch):
    monkeypatch.setattr(_cluster, "_nodes", lambda: [node(2)])
    error = str(Cluster(cpus=8, gpus=1).too_small())
    assert (
        "asks for 8 CPUs, 1 GPUs, which no node of the Ray cluster has: 10.0.0.1 has 2 CPUs, 0 GPUs, 16.0 GB" in error
    )


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"cpus": 0}, "--cpus must be a number of at least 0.01, got 0"),
        ({"gpus": -1}, "--gpus must be a number of at least 0, got -1"),
        ({"gpus": 1.5}, "--gpus must be whole, or a share of one GPU below 1, got 1.5"),
        ({"memory_gb": float("nan")}, "--memory-gb must be a number of at least 0, got nan"),
        ({"results": "drivers"}, "--results: unknown way of results 'drivers'; known: driver, shared"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(asked, told):
    with pytest.raises(InputError, match=told):
        Cluster(**asked)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--engine", "processes", "--address", "auto"], "--address: only --engine ray takes that"),
        (["--engine", "ray", "--device", "cuda:1"], "Ray decides which GPU a trial gets; use --device cuda"),
        (["--engine", "ray", "--device", "cuda", "--gpus", "0"], "say how much of a GPU a trial gets"),
        (["--engine", "ray", "--address", "127.0.0.1:1"], "no Ray cluster at --address 127.0.0.1:1: .*refused"),
        (["--engine", "ray", "--address", "ray://head:10001"], "an address is HOST:PORT, or auto"),
    ],
)
def test_options_that_lead_nowhere_are_told_at_once(options, told, tmp_path, capsys):
    (tmp_path / "toys.yaml").write_text(yaml.safe_dump(toy.study()))
    assert cli.main(["run", str(tmp_path / "toys.yaml"), "--out", str(tmp_path / "s"), *options]) == 2
    assert re.search(told, capsys.readouterr().err)


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install 'petl_study\[ray\]'"):
        Cluster().connect()


class Ready(Pool):
    """A pool whose workers are there at once."""

    started = 0

    def _start(self) -> None:
        self.started += 1
        hand = Hand(None, f"node {self.started}")
        self._hands.add(hand)
        self._rest(hand)


@pytest.fixture
def pool(monkeypatch) -> Iterator[Ready]:
    monkeypatch.setattr(_cluster, "_nodes", lambda: [node(2)])
    monkeypatch.setattr(ray_engine.Pool, "drop", lambda pool, hand: pool._hands.discard(hand))
    pool = Ready(Cluster(), None, 1, "cpu")
    yield pool
    pool.end()


def test_a_trial_goes_to_the_worker_that_has_its_task_loaded(pool):
    digits, cells = ("vit", "digits"), ("vit", "cells")
    first, second = pool.take(digits), pool.take(cells)
    pool.give_back(first)
    pool.give_back(second)
    for kind, hand in [(cells, second), (digits, first), (digits, first), (cells, second)]:
        assert pool.take(kind) is hand
        pool.give_back(hand)
    assert pool.started == 2


def test_who_waits_for_a_worker_is_not_kept_when_the_study_stops(pool):
    for _ in range(2):
        pool.take(("vit", "digits"))
    pool._ended.set()
    with pytest.raises(Lost):
        pool.take(("vit", "digits"))


def test_a_worker_without_trials_leaves_what_it_holds_to_others_and_one_at_work_does_not(monkeypatch, pool):
    monkeypatch.setattr(_pool, "IDLE", 0.1)
    pool.end()
    pool = Ready(Cluster(), None, 1, "cpu")
    idle, at_work = pool.take(("vit", "digits")), pool.take(("vit", "digits"))
    pool.give_back(idle)
    wait_until(lambda: pool._hands == {at_work}, seconds=10)
    assert pool.take(("vit", "digits")) is not at_work
    assert pool.started == 3
    pool.end()
    assert not pool._hands


# --------------------------------------------------------------------------------------------------------- on a cluster

MANY = {
    "methods": ["linear", "bitfit", "ssf", "layernorm"],
    "protocol": {**BRIEF, "epochs": 2},
    "search": {"trials": 49, "lr": [n * 1e-3 for n in range(1, 8)], "weight_decay": [n * 1e-4 for n in range(1, 8)]},
}


@pytest.fixture
def nodes(monkeypatch) -> Iterator[Any]:
    """A cluster of three nodes, each a raylet of its own, with room for a trial."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster as Nodes

    # Workers are found by what their raylets were started with, and see this checkout.
    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parent.parent}:{os.environ.get('PYTHONPATH', '')}")
    nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    for _ in range(2):
        nodes.add_node(num_cpus=1)
    nodes.wait_for_nodes()
    yield nodes
    # Python's own helper, which whoever was first to share memory has started, stays until the tests end.
    mine = [pid for pid in descendants(os.getpid()) if "resource_tracker" not in command_of(pid)]
    nodes.shutdown()
    wait_until(lambda: not [pid for pid in mine if alive(pid)])


def wait_until(condition: Callable[[], object], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def descendants(pid: int) -> list[int]:
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return [found for child in children for found in (child, *descendants(child))]


def workers_of(node: Any) -> list[int]:
    [raylet] = node.all_processes["raylet"]
    return [pid for pid in descendants(raylet.process.pid) if "ray::Worker" in command_of(pid)]


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def stored(path: Path) -> dict[Path, int]:
    """When the records that are whole were written, in ns."""
    found = [file for kind in ("trials", "runs") for file in (path / kind).glob("*/*/*/record.json")]
    return {file: file.stat().st_mtime_ns for file in found if not file.parent.name.startswith(".")}


@pytest.mark.slow
@pytest.mark.parametrize("results", engines.RESULTS)
def test_every_engine_gives_the_same_bits(results, pets, tmp_path):
    run(tmp_path / "processes", "processes")
    assert_same_bits(pets, tmp_path / "processes")
    before = descendants(os.getpid())
    run(tmp_path / results, "ray", Cluster(results=results))
    assert_same_bits(pets, tmp_path / results)
    assert not (tmp_path / results / SIGHT).exists()
    wait_until(lambda: not set(descendants(os.getpid())) - set(before), 20)


@pytest.mark.slow
@pytest.mark.parametrize("results", engines.RESULTS)
def test_a_node_a_worker_and_the_driver_are_killed_and_every_trial_ends_once(results, nodes, data, tmp_path):
    run(tmp_path / "serial", "serial", **MANY)
    study, path = tmp_path / "pets.yaml", tmp_path / "study"
    study.write_text(yaml.safe_dump(toy.study(**{**PETS, **MANY})))
    command = [sys.executable, "-m", "petl_study", "run", str(study), "--out", str(path), "--data", str(data.data)]
    command += ["--engine", "ray", "--address", nodes.address, "--results", results]
    environment = {**os.environ, "PETL_STUDY_CACHE": str(data.cache)}

    def begin() -> subprocess.Popen[str]:
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def reach(count: int) -> None:
        wait_until(lambda: len(stored(path)) >= count or driver.poll() is not None)
        assert driver.poll() is None, driver.communicate()

    driver = begin()
    reach(30)
    nodes.remove_node(sorted(nodes.worker_nodes, key=lambda node: node.node_id)[0], allow_graceful=False)
    reach(60)
    [other] = nodes.worker_nodes
    wait_until(lambda: workers_of(other))
    os.kill(workers_of(other)[0], signal.SIGKILL)
    reach(100)
    driver.kill()
    driver.communicate()
    kept = stored(path)
    assert len(kept) < 200
    driver = begin()
    told, errors = driver.communicate()
    assert driver.returncode == 0, errors
    assert f"{200 - len(kept)} trained, {len(kept)} stored before." in told  # none failed, none was trained again
    assert {file: written for file, written in stored(path).items() if file in kept} == kept
    assert len(stored(path)) == 200
    assert_same_bits(tmp_path / "serial", path)


@pytest.mark.slow
def test_room_follows_the_nodes_that_are_there(nodes):
    [first, second] = nodes.worker_nodes
    nodes.remove_node(first)
    cluster = Cluster(address=nodes.address, results="driver")
    with engines.create("ray", workers=None, threads=1, device="cpu", cluster=cluster) as engine:
        wait_until(lambda: engine.capacity == 2, 60)
        nodes.remove_node(second)
        wait_until(lambda: engine.capacity == 1, 60)
        nodes.add_node(num_cpus=3)
        wait_until(lambda: engine.capacity == 4, 60)
    asks_too_much = Cluster(address=nodes.address, cpus=4)
    with pytest.raises(InputError, match=r"a trial asks for 4 CPUs, .*which no node of the Ray cluster has"):
        asks_too_much.connect()
