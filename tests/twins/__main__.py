"""Compare LangGraph graphs with themselves as jobs, at length.

    python -m tests.twins --all [--postgres] [--streams] [--kills] [--pauses] [--graphs 2000] [--seed N]

Without --streams, --kills, --pauses and --graphs each graph runs once, undisturbed.
Prints its seed first and a JSON summary last; exits with 1 where anything differs.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import logging
import os
import shutil
import sys
import tempfile
import threading
import time
import warnings
from contextlib import ExitStack
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

from tests.support.postgres import PostgresServer
from tests.twins.trial import Trial
from tests.twins.twin import corpus

EVERY = 20.0
"""Seconds between two lines of progress."""

STUCK = 300.0
"""Seconds after which a play ends the run: the stacks of all threads are printed, and the exit code is 1."""


class Progress:
    """Tells on stderr what is played, now and then, and before it ends a run that hangs."""

    def __init__(self) -> None:
        self._number, self._now, self._told = 0, "", 0.0
        self._watch: threading.Timer | None = None

    def begins(self, what: str) -> None:
        self.end()
        self._number += 1
        self._now = what
        if time.monotonic() - self._told > EVERY:
            self._told = time.monotonic()
            self._tell()
        self._watch = threading.Timer(STUCK, self._give_up)
        self._watch.daemon = True
        self._watch.start()

    def end(self) -> None:
        if self._watch is not None:
            self._watch.cancel()

    def _tell(self) -> None:
        print(f"play {self._number}: {self._now}", file=sys.stderr, flush=True)

    def _give_up(self) -> None:
        self._tell()
        print(f"it has not ended after {STUCK:.0f} s", file=sys.stderr, flush=True)
        faulthandler.dump_traceback(all_threads=True)
        os._exit(1)


def main() -> int:
    given = _arguments()
    seed = given.seed or SystemRandom().randrange(1, 2**31)
    print(f"seed {seed}", flush=True)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    chance, began = Random(seed), time.monotonic()
    twins = list(corpus().values())
    if given.only:
        twins = [twin for twin in twins if given.only in (twin.name, twin.feature)]
    elif not given.all:
        twins = chance.sample(twins, min(given.share, len(twins)))
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="ucop-twins-"))
        url = f"sqlite:///{folder}/ucop.db"
        if given.postgres:
            url = stack.enter_context(PostgresServer()).fresh()
        progress = Progress()
        trial = Trial(folder, url, twins, on_play=progress.begins)
        if not (given.streams or given.pauses or given.graphs or given.kills is not None):
            trial.once()
        if given.streams:
            trial.streams()
        if given.pauses:
            trial.pauses()
        if given.kills is not None:
            trial.kills(given.kills, chance)
        if given.graphs:
            trial.graphs(given.graphs, seed)
    progress.end()
    summary: dict[str, Any] = {
        "seed": seed,
        "database": url.partition(":")[0],
        **trial.counts,
        "differences": len(trial.found),
        "differing": sorted({each.twin for each in trial.found}),
        "seconds": round(time.monotonic() - began),
    }
    if trial.found:
        summary["folder"] = str(folder)
    else:
        shutil.rmtree(folder)
    print(json.dumps(summary))
    return 1 if trial.found else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.twins", description=__doc__)
    parser.add_argument("--all", action="store_true", help="the whole corpus")
    parser.add_argument("--share", type=int, default=40, help="else: so many graphs by chance")
    parser.add_argument("--only", help="one graph, or the file that it stands in")
    parser.add_argument("--postgres", action="store_true", help="on PostgreSQL")
    parser.add_argument("--streams", action="store_true", help="compare what is emitted live too")
    parser.add_argument("--pauses", action="store_true", help="pause each at each visit of a node")
    parser.add_argument(
        "--kills",
        type=int,
        nargs="?",
        const=0,
        help="kill workers at every checkpoint; with a number, so many, at points by chance",
    )
    parser.add_argument("--graphs", type=int, default=0, help="so many random graphs")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
