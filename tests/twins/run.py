"""One twin on both sides, and what differs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.twins import witness
from tests.twins.bare import Bare
from tests.twins.compare import Difference, differences
from tests.twins.job import JobSide, know
from tests.twins.play import Choose, Observation, Side, first, play
from tests.twins.twin import Twin
from ucop.engine import Engine, Settings
from ucop.engine.errors import UcopError

SETTINGS = {"poll": 0.02, "sweep": 0.2, "lease": 20.0, "grace": 1.0, "embedded": False}


@contextmanager
def engine_of(
    folder: Path, url: str, twins: list[Twin], *, worker: bool = True
) -> Iterator[Engine]:
    """An engine that knows graphs of the corpus before its worker takes a job."""
    settings = Settings.load(folder, database=url, **SETTINGS)
    with Engine(settings=settings, worker=worker) as engine:
        know(engine, twins)
        yield engine


def observe(twin: Twin, side: Side, folder: Path, *, choose: Choose = first) -> Observation:
    """Play a twin on one side, and look at all that can be seen."""
    path = folder / "witness"
    witness.begin(path)
    rests = play(twin, side, choose=choose)
    visits = tuple(witness.visits(path))
    if rests[-1].status == "stuck":
        return Observation(rests, visits)
    history, nested = side.history()
    return Observation(rests, visits, history, nested, side.parts())


def on_bare(
    twin: Twin, folder: Path, *, choose: Choose = first, stream: bool = False
) -> Observation:
    with Bare(twin, stream=stream) as side:
        return observe(twin, side, folder, choose=choose)


def compare(
    twin: Twin, engine: Engine, folder: Path, *, choose: Choose = first, stream: bool = False
) -> list[Difference]:
    """What differs; an error of either side that no play expects is a difference too. With
    `stream` both are followed live, and the parts are compared up to the first rest."""
    bare = on_bare(twin, folder, choose=choose, stream=stream)
    try:
        job = observe(twin, JobSide(twin, engine, stream=stream), folder, choose=choose)
    except (UcopError, AssertionError) as error:
        found = [Difference(twin.name, "raised", None, repr(error))]
        return found if "raised" not in twin.differs else []
    found = differences(twin, bare, job)
    # What a stream ends with is the whole state, and not the output.
    return [each for each in found if each.part == "stream"] if stream else found


def compared(twin: Twin, engine: Engine, folder: Path) -> list[Difference]:
    """`compare`, for a twin that the engine does not know yet."""
    know(engine, [twin])
    return compare(twin, engine, folder)
