"""Twins that are paused at each visit of a node, and resumed."""

from __future__ import annotations

import threading
from pathlib import Path

from tests.twins import witness
from tests.twins.compare import Difference, differences
from tests.twins.job import JobSide
from tests.twins.play import Observation
from tests.twins.run import observe
from tests.twins.twin import Twin
from ucop.engine import Engine
from ucop.engine.errors import RefusedChange, UcopError


def paused(
    twin: Twin, bare: Observation, engine: Engine, folder: Path, at: int, *, now: bool
) -> tuple[bool, list[Difference]]:
    """Whether the job was paused, and what was not as on bare LangGraph. `at` is the number of
    the visit in which it is paused; with `now` amid it, else behind it."""
    gate = witness.Gate(at)
    witness.set_gate(gate)
    side = JobSide(twin, engine)
    was: list[bool] = []
    over = threading.Event()

    def pause() -> None:
        while not gate.reached.wait(0.02):
            if over.is_set():
                return
        while side.job is None and not over.wait(0.002):
            pass  # the node was faster than the answer to whom submitted it
        if side.job is None:
            return
        try:
            side.job.pause(now=now)
            gate.cuts = now
            was.append(True)
        except RefusedChange:  # a sibling of the node that is held failed meanwhile
            pass
        finally:
            gate.open.set()

    pausing = threading.Thread(target=pause)
    pausing.start()
    word = "paused now" if now else "paused"
    try:
        found = differences(twin, bare, observe(twin, side, folder), broken=True)
    except (UcopError, AssertionError) as error:
        found = [Difference(twin.name, "raised", None, repr(error))]
    finally:
        over.set()
        gate.open.set()
        pausing.join()
        witness.set_gate(None)
    return bool(was), [each.at(f"{word} in visit {at}") for each in found]
