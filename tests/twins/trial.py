"""Twins tried in every way: once, live, paused, killed, and composed by chance."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from random import Random

from tests.chaos.fleet import Forge
from tests.twins import generator, kills, pauses
from tests.twins.compare import Difference
from tests.twins.play import Observation, last
from tests.twins.run import compare, compared, engine_of, on_bare
from tests.twins.twin import Twin


class Trial:
    """What was tried, and what differed."""

    def __init__(self, folder: Path, url: str, twins: list[Twin]) -> None:
        self._folder, self._url, self._twins = folder, url, twins
        self.counts: Counter[str] = Counter()
        self.found: list[Difference] = []
        self._bare: dict[str, Observation] = {}

    def once(self) -> None:
        """Every twin, and those that ask once more with the last question answered first."""
        with engine_of(self._folder, self._url, self._twins) as engine:
            for twin in self._twins:
                self._note("twins", compare(twin, engine, self._folder))
                if any(len(rest.questions) > 1 for rest in self._seen(twin).rests):
                    found = compare(twin, engine, self._folder, choose=last)
                    self._note("orders", [each.at("last question first") for each in found])

    def streams(self) -> None:
        """Every twin, followed live."""
        with engine_of(self._folder, self._url, self._twins) as engine:
            for twin in self._twins:
                self._note("streams", compare(twin, engine, self._folder, stream=True))

    def pauses(self) -> None:
        """Every twin, paused at each visit of a node."""
        twins = [twin for twin in self._twins if not twin.once]
        with engine_of(self._folder, self._url, twins) as engine:
            for twin in twins:
                for now in (False, True):
                    for at in range(1, len(self._seen(twin).visits) + 1):
                        given = (twin, self._seen(twin), engine, self._folder, at)
                        was, found = pauses.paused(*given, now=now)
                        self._note("pauses" if was else "pauses missed", found)

    def kills(self, most: int, chance: Random) -> None:
        """Every twin (or `most` of them by chance) with workers that each die after one checkpoint, and
        `most` single deaths at points by chance."""
        twins = [twin for twin in self._twins if not twin.once]
        forge = Forge("tests.twins.roles")
        try:
            with engine_of(self._folder, self._url, twins, worker=False) as engine:
                for twin, point, always in _deaths(twins, most, chance):
                    given = (twin, self._seen(twin), engine, forge, self._folder, point)
                    died, found = kills.killed(*given, always=always)
                    self.counts["kills"] += died
                    self._note("plays with kills" if died else "kills missed", found)
        finally:
            forge.close()

    def graphs(self, number: int, seed: int) -> None:
        """Random graphs."""
        with engine_of(self._folder, self._url, []) as engine:

            def check(recipe: generator.Recipe) -> list[Difference]:
                self.counts["graphs"] += 1
                twin = generator.twin_of(recipe, f"graph-{self.counts['graphs']}")
                return compared(twin, engine, self._folder)

            self._note("searches", generator.search(check, number, seed))

    def _seen(self, twin: Twin) -> Observation:
        if twin.name not in self._bare:
            self._bare[twin.name] = on_bare(twin, self._folder)
        return self._bare[twin.name]

    def _note(self, what: str, found: list[Difference]) -> None:
        self.counts[what] += 1
        self.found += found
        for each in found:
            print(json.dumps(each.to_json(), ensure_ascii=False), flush=True)


def _deaths(twins: list[Twin], most: int, chance: Random) -> list[tuple[Twin, str, bool]]:
    each = [(twin, point, True) for twin in twins for point in kills.ALWAYS]
    once = [
        (twin, f"{point}:{number}", False)
        for twin in twins
        for point in kills.POINTS
        for number in range(1, kills.MOST)
    ]
    chosen = chance.sample(once, min(most, len(once)))
    return [*(each if most == 0 else chance.sample(each, min(most, len(each)))), *chosen]
