"""Twins tried in every way: once, live, paused, killed, and composed by chance."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from tests.chaos.fleet import Forge
from tests.twins import generator, kills, pauses
from tests.twins.compare import Difference
from tests.twins.generator import Recipe
from tests.twins.play import Observation, last
from tests.twins.run import compare, compared, engine_of, on_bare
from tests.twins.shrinking import shrunk
from tests.twins.twin import Twin
from ucop.engine import Engine

SHRINKING = 60.0
"""Seconds in which a graph that differs is made smaller."""


class Trial:
    """What was tried, and what differed."""

    def __init__(
        self,
        folder: Path,
        url: str,
        twins: list[Twin],
        *,
        on_play: Callable[[str], None] = lambda what: None,
    ) -> None:
        """`on_play` hears of each play before it begins."""
        self._folder, self._url, self._twins, self._on_play = folder, url, twins, on_play
        self._made = 0
        self.counts: Counter[str] = Counter()
        self.found: list[Difference] = []
        self._bare: dict[str, Observation] = {}

    def once(self) -> None:
        """Every twin, and those that ask once more with the last question answered first."""
        with engine_of(self._folder, self._url, self._twins) as engine:
            for twin in self._twins:
                self._on_play(twin.name)
                self._note("twins", compare(twin, engine, self._folder))
                if any(len(rest.questions) > 1 for rest in self._seen(twin).rests):
                    found = compare(twin, engine, self._folder, choose=last)
                    self._note("orders", [each.at("last question first") for each in found])

    def streams(self) -> None:
        """Every twin, followed live."""
        with engine_of(self._folder, self._url, self._twins) as engine:
            for twin in self._twins:
                self._on_play(f"{twin.name}, followed live")
                self._note("streams", compare(twin, engine, self._folder, stream=True))

    def pauses(self) -> None:
        """Every twin, paused at each visit of a node."""
        twins = [twin for twin in self._twins if not twin.once]
        with engine_of(self._folder, self._url, twins) as engine:
            for twin in twins:
                for now in (False, True):
                    for at in range(1, len(self._seen(twin).visits) + 1):
                        self._on_play(f"{twin.name}, paused in visit {at}, now={now}")
                        given = (twin, self._seen(twin), engine, self._folder, at)
                        was, found = pauses.paused(*given, now=now)
                        self._note("pauses" if was else "pauses missed", found)

    def kills(self, most: int, chance: Random) -> None:
        """Every twin with workers that each die after one checkpoint; or, with `most`, so many deaths
        at points by chance, and every fourth time of each worker."""
        twins = [twin for twin in self._twins if not twin.once]
        forge = Forge("tests.twins.roles")
        try:
            with engine_of(self._folder, self._url, twins, worker=False) as engine:
                for twin, point, always in _deaths(twins, most, chance):
                    if most and self.counts["kills"] >= most:
                        break
                    self._on_play(f"{twin.name}, killed {point}, always={always}")
                    given = (twin, self._seen(twin), engine, forge, self._folder, point)
                    died, found = kills.killed(*given, always=always)
                    self.counts["kills"] += died
                    self._note("plays with kills" if died else "kills missed", found)
        finally:
            forge.close()

    def graphs(self, number: int, seed: int) -> None:
        """Random graphs."""
        for recipes in generator.drawn(number, seed):
            with engine_of(self._folder, self._url, []) as engine:
                for recipe in recipes:
                    self._graph(engine, recipe)

    def _graph(self, engine: Engine, recipe: Recipe) -> None:
        def check(recipe: Recipe) -> list[Difference]:
            self._made += 1
            self._on_play(str(recipe))
            twin = generator.twin_of(recipe, f"graph-{self._made}")
            return compared(twin, engine, self._folder)

        if found := check(recipe):
            smallest = shrunk(recipe, lambda each: bool(check(each)), SHRINKING)
            found = check(smallest) or found
            found = [each.at(str(smallest)) for each in found]
        self._note("graphs", found)

    def _seen(self, twin: Twin) -> Observation:
        if twin.name not in self._bare:
            self._bare[twin.name] = on_bare(twin, self._folder)
        return self._bare[twin.name]

    def _note(self, what: str, found: list[Difference]) -> None:
        self.counts[what] += 1
        self.found += found
        for each in found:
            print(json.dumps(each.to_json(), ensure_ascii=False), flush=True)


def _deaths(twins: list[Twin], most: int, chance: Random) -> Iterator[tuple[Twin, str, bool]]:
    each = [(twin, point, True) for twin in twins for point in kills.ALWAYS]
    if not most:
        yield from each
        return
    once = [
        (twin, f"{point}:{number}", False)
        for twin in twins
        for point in kills.POINTS
        for number in range(1, kills.MOST)
    ]
    chance.shuffle(each)
    chance.shuffle(once)
    for number, death in enumerate(once):
        if number % 3 == 0 and each:
            yield each.pop()
        yield death
