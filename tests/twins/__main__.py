"""Compare LangGraph graphs with themselves as jobs, at length.

    python -m tests.twins --all [--postgres] [--streams] [--kills] [--pauses] [--graphs 2000] [--seed N]

Prints its seed first and a JSON summary last; exits with 1 where anything differs.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
import tempfile
import time
import warnings
from contextlib import ExitStack
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

from tests.support.postgres import PostgresServer
from tests.twins.trial import Trial
from tests.twins.twin import corpus


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
        trial = Trial(folder, url, twins)
        trial.once()
        if given.streams:
            trial.streams()
        if given.pauses:
            trial.pauses()
        if given.kills is not None:
            trial.kills(given.kills, chance)
        if given.graphs:
            trial.graphs(given.graphs, seed)
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
        help="kill workers at every checkpoint; with a number, at so many points by chance",
    )
    parser.add_argument("--graphs", type=int, default=0, help="so many random graphs")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
