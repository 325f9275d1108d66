"""The smallest random graph that still differs. Hypothesis could shrink too, but takes a difference
that comes by chance for a mistake of the test, and knows no end while graphs hang."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.twins.generator import Layer, Part, Recipe

PLAIN = Part("adoes")


def shrunk(recipe: Recipe, differs: Callable[[Recipe], bool], seconds: float) -> Recipe:
    """The smallest recipe found in so many seconds for which `differs`."""
    until = time.monotonic() + seconds
    candidates = smaller(recipe)
    while time.monotonic() < until:
        candidate = next(candidates, None)
        if candidate is None:
            break
        if differs(candidate):
            recipe, candidates = candidate, smaller(candidate)
    return recipe


def smaller(recipe: Recipe) -> Iterator[Recipe]:
    """Recipes that lack one thing each, those that lack most first."""
    for layers in _fewer(recipe.layers):
        yield replace(recipe, layers=layers)
    if recipe.loop:
        yield replace(recipe, loop=0)
    if recipe.stop:
        yield replace(recipe, stop="")
    for layers in _simpler(recipe.layers):
        yield replace(recipe, layers=layers)


def _fewer(layers: tuple[Layer, ...]) -> Iterator[tuple[Layer, ...]]:
    if len(layers) > 1:
        for at in range(len(layers)):
            yield (*layers[:at], *layers[at + 1 :])


def _simpler(layers: tuple[Layer, ...]) -> Iterator[tuple[Layer, ...]]:
    for at, layer in enumerate(layers):
        for each in _simpler_layer(layer):
            yield (*layers[:at], each, *layers[at + 1 :])


def _simpler_layer(layer: Layer) -> Iterator[Layer]:
    parts = layer.parts
    if len(parts) > 1:
        for at in range(len(parts)):
            yield replace(layer, parts=(*parts[:at], *parts[at + 1 :]))
    if layer.entry != "edges":
        yield replace(layer, entry="edges", items=1)
    if layer.items > 1:
        yield replace(layer, items=1)
    if layer.defer:
        yield replace(layer, defer=False)
    for at, part in enumerate(parts):
        for each in _simpler_part(part):
            yield replace(layer, parts=(*parts[:at], each, *parts[at + 1 :]))


def _simpler_part(part: Part) -> Iterator[Part]:
    if part.kind not in ("does", "adoes"):
        yield PLAIN
    if part.kind == "asks twice":
        yield Part("asks")
    for layers in (*_fewer(part.inside), *_simpler(part.inside)):
        yield replace(part, inside=layers)
