"""What a forked process does: it works at jobs of the corpus until it is killed."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from tests.chaos import roles as chaos
from tests.twins.run import engine_of
from tests.twins.twin import corpus
from tests.twins.witness import WITNESS
from ucop.engine import faults


def warm() -> None:
    """Import what workers import; start no thread, open no connection."""
    chaos.warm()
    corpus()


def work(folder: Path, url: str, *, name: str, witness: str, fault: str = "") -> None:
    """Be a worker for jobs of one twin until SIGTERM."""
    os.environ[WITNESS] = witness
    faults.arm(fault)
    done = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: done.set())
    with engine_of(folder, url, [corpus()[name]]):
        print("ready", file=sys.stderr, flush=True)
        done.wait()
