"""What a forked process does: a worker that works until it is killed, a script that submits."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from tests.chaos import inquiries, mazes
from tests.chaos.witness import Witness
from ucop.engine import faults
from ucop.engine.ledger import progress, workers


def warm() -> None:
    """Import what workers import; start no thread, open no connection."""
    import ucop.engine.attempts.attempt
    import ucop.engine.checkpoints.history
    import ucop.engine.checkpoints.postgres_saver
    import ucop.engine.checkpoints.sqlite_saver
    import ucop.engine.database.postgres
    import ucop.engine.database.sqlite
    import ucop.engine.engine
    import ucop.engine.queue.dbos
    import ucop.engine.queue.embedded
    import ucop.graphs.nodes.compile
    import ucop.graphs.workflows.python_workflow  # noqa: F401
    from ucop.agents.text.source import read_yaml
    from ucop.graphs.workflows.yaml_file import workflow_of

    mazes.maze().compile()
    quarry = workflow_of(read_yaml(mazes.QUARRY, "quarry.yaml"), mazes.registry())
    quarry.accept({"name": "warm"})
    quarry.graph()


def open_engine(
    folder: Path, url: str, *, worker: bool = True, settings: dict[str, Any] | None = None
) -> Any:
    """An engine that knows both workflows before its worker starts."""
    from ucop.engine.engine import Engine
    from ucop.engine.settings import Settings
    from ucop.graphs.workflows.catalog import Catalog

    registry = mazes.registry()
    catalog = Catalog(folder, ["quarry.yaml", "swarm.yaml", "graphs/*.yaml"], registry)
    catalog.add("maze", mazes.maze())
    catalog.add("twig", mazes.twig())
    catalog.add("inquiry", inquiries.inquiry())
    catalog.add("halts", inquiries.halts())
    return Engine(
        settings=Settings.load(folder, database=url, **(settings or {})),
        worker=worker,
        catalog=catalog,
        registry=registry,
    )


def work(
    folder: Path,
    url: str,
    *,
    settings: dict[str, Any],
    fault: str = "",
    fence: bool = True,
    deaf: bool = False,
    environment: dict[str, str] | None = None,
) -> None:
    """Be a worker until SIGTERM."""
    _log()
    os.environ.update(environment or {})
    if deaf:
        _grow_deaf()
    if not fence:
        _tear_down_fence()
    faults.arm(fault)
    done = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: done.set())
    engine = open_engine(folder, url, settings=settings)
    Witness().tell("ready")
    while not done.wait(0.2):
        pass
    engine.close()


def submit(
    folder: Path,
    url: str,
    *,
    jobs: list[dict[str, Any]],
    settings: dict[str, Any] | None = None,
    fault: str = "",
    worker: bool = False,
    user: int | None = None,
) -> None:
    """Submit jobs, telling the witness the id of each that was accepted."""
    _log()
    if user is not None and os.geteuid() == 0:
        os.setuid(user)  # nothing is read-only for root
    engine = open_engine(folder, url, worker=worker, settings=settings)
    witness = Witness()
    faults.arm(fault)
    for job in jobs:
        witness.tell("submitting", job["input"]["name"])
        terms = {name: job[name] for name in job if name not in ("workflow", "input")}
        accepted = engine.submit(job["workflow"], job["input"], **terms)
        witness.tell("accepted", job["input"]["name"], accepted.id)
    faults.arm("")
    engine.close()


def resume(folder: Path, url: str, *, job: str, fault: str = "") -> None:
    """Resume a failed job."""
    _log()
    engine = open_engine(folder, url, worker=False)
    faults.arm(fault)
    engine.job(job).resume()
    faults.arm("")
    engine.close()


def read(folder: Path, url: str, *, after: int, into: str) -> None:
    """Write the number of each event behind `after` into a file, until killed."""
    _log()
    out = os.open(into, os.O_WRONLY | os.O_APPEND)
    with open_engine(folder, url, worker=False) as engine:
        for event in engine.subscribe(after=after):
            os.write(out, f"{event.position} {event.job_id} {event.seq}\n".encode())


def _log() -> None:
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format=f"{os.getpid()} %(name)s %(message)s"
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)


def _grow_deaf() -> None:
    """Never hear that other processes took over: neither by the heartbeat nor by the watch."""
    from ucop.engine.worker.worker import Worker

    beat = Worker._beat

    async def beat_while_alive(self: Worker) -> None:
        if not await self._database.read(lambda: workers.is_lost(self.id)):
            await beat(self)

    async def watch_nothing(self: Worker) -> None:
        return None

    Worker._beat = beat_while_alive  # type: ignore[method-assign]
    Worker.watch = watch_nothing  # type: ignore[method-assign]


def _tear_down_fence() -> None:
    """Let every attempt write, current or not: to see that the audit finds it."""
    current = "where id = :job and attempt = :attempt and status = 'running' returning seq"
    assert current in progress._TELL
    torn = "where id = :job and :attempt > 0 returning seq"
    progress._TELL = progress._TELL.replace(current, torn)
