"""What an SVG picture of a workflow holds, and the one agent of the workflows that are drawn."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from ucop.agents.spec.function import agent
from ucop.agents.spec.registry import Registry

SVG = "{http://www.w3.org/2000/svg}"


@agent("step")
def step(value: Any = None) -> Any:
    """Takes and gives anything."""
    return value


REGISTRY = Registry.of(step)


def tree(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)


def texts(text: str) -> list[str]:
    return ["".join(one.itertext()) for one in tree(text).iter(f"{SVG}text")]


def boxes_of(text: str) -> list[tuple[float, float, float, float]]:
    """Left, top, right, bottom of every node and label."""
    found = []
    for one in tree(text).iter(f"{SVG}rect"):
        if one.get("class", "").startswith(("box", "plate")):
            x, y, w, h = (float(one.get(key, "")) for key in ("x", "y", "width", "height"))
            found.append((x, y, x + w, y + h))
    return found


def apart(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
