"""An engine on one database is opened and closed again and again, while jobs run, are submitted,
followed and cancelled: each close must end, and no job may be lost.

`python -m tests.chaos.closings --rounds 600`, from the repository's root; also with --postgres. With
--frozen, one engine is closed whose PostgreSQL server was stopped with SIGSTOP amid its work.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.chaos.fleet import chance, fresh_seed
from tests.support.graphs import chain
from tests.support.postgres import PostgresServer
from ucop.engine import Engine, JobHandle, Settings, UcopError

HANGS = 60.0
"""Seconds after which a round counts as one that hangs: the stacks are printed, and that is the
end."""

AT_ONCE = 4
"""Jobs that are submitted in a round."""


@dataclass(kw_only=True)
class Result:
    seed: int
    rounds: int = 0
    jobs: int = 0
    lost: int = 0
    longest: float = 0.0
    """Seconds that the slowest close took."""
    slow: int = 0
    """Closes that took more than 5 s."""


def run(url: str, folder: Path, rounds: int, seed: int) -> Result:
    random, result = chance(seed), Result(seed=seed)
    accepted: list[str] = []
    for _ in range(rounds):
        faulthandler.dump_traceback_later(HANGS, exit=True)
        engine = _open(url, folder)
        with _callers(engine, accepted):
            time.sleep(random.uniform(0.0, 0.3))
            began = time.monotonic()
            engine.close(grace=random.choice((0.0, 0.0, 0.2)))
            took = time.monotonic() - began
        faulthandler.cancel_dump_traceback_later()
        result.rounds += 1
        result.slow += took > 5
        result.longest = round(max(result.longest, took), 2)
    with _open(url, folder) as engine:
        result.jobs = len(accepted)
        result.lost = sum(not _ends(engine.job(id)) for id in accepted)
    return result


def close_frozen(server: PostgresServer, folder: Path) -> float:
    """Seconds that a close took whose server answers nothing."""
    engine = _open(server.fresh(), folder)
    job = engine.submit(engine.add("slow", chain("a", seconds=3600)))
    while job.status != "running":
        time.sleep(0.01)
    faulthandler.dump_traceback_later(5 * HANGS, exit=True)
    server.freeze()
    try:
        began = time.monotonic()
        engine.close(grace=0)
        return round(time.monotonic() - began, 2)
    finally:
        server.thaw()
        faulthandler.cancel_dump_traceback_later()


def _open(url: str, folder: Path) -> Engine:
    settings = Settings.load(folder, database=url, poll=0.02, sweep=0.1, lease=5.0, concurrency=4)
    engine = Engine(settings=settings)
    engine.add("chain", chain("a", "b", "c", seconds=0.02))
    return engine


@contextmanager
def _callers(engine: Engine, accepted: list[str]) -> Iterator[None]:
    """Threads that use an engine until it is closed."""
    threads = [
        threading.Thread(target=work, args=(engine, accepted)) for work in (_submit, _follow, _look)
    ]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join()


def _submit(engine: Engine, accepted: list[str]) -> None:
    with suppress(UcopError):
        for number in range(AT_ONCE):
            job = engine.submit("chain")
            accepted.append(job.id)
            if number == 2:
                job.cancel()


def _follow(engine: Engine, accepted: list[str]) -> None:
    with suppress(UcopError):
        for event in engine.subscribe(types="job.*"):
            if event.type == "job.submitted":
                for _ in engine.job(event.job_id).events():
                    pass


def _look(engine: Engine, accepted: list[str]) -> None:
    with suppress(UcopError):
        while True:
            for job in engine.jobs(limit=3):
                engine.job(job.id).checkpoints()
                engine.job(job.id).spending()


def _ends(job: JobHandle) -> bool:
    return job.wait(timeout=HANGS) in ("completed", "cancelled")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.closings", description=__doc__)
    parser.add_argument("--rounds", type=int, default=600)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--frozen", action="store_true")
    given = parser.parse_args()
    seed = fresh_seed() if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        if given.frozen:
            with PostgresServer() as server:
                print(json.dumps({"seconds": close_frozen(server, Path(folder))}))
            return 0
        if given.postgres:
            with PostgresServer() as server:
                result = run(server.fresh(), Path(folder), given.rounds, seed)
        else:
            result = run(f"sqlite:///{folder}/closings.db", Path(folder), given.rounds, seed)
    print(json.dumps(asdict(result)))
    return 0 if result.lost == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
