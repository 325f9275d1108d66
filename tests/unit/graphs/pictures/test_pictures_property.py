"""Pictures of random workflows: everything is there, in order, and nothing covers anything."""

from __future__ import annotations

from itertools import combinations

from hypothesis import HealthCheck, assume, example, given, note, settings

from tests.support.shapes import FAILED_ONCE, Shape, shapes
from tests.unit.graphs.pictures.test_pictures import REGISTRY, apart, boxes_of
from ucop.agents.errors import InvalidDefinition
from ucop.agents.text.source import read_yaml
from ucop.graphs.pictures.picture import picture_of, waves_of
from ucop.graphs.pictures.svg import svg
from ucop.graphs.workflows.yaml_file import workflow_of


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(shape=shapes())
@example(shape=FAILED_ONCE[0])
@example(shape=FAILED_ONCE[1])
def test_given_any_graph_then_its_picture_is_whole_and_clear(shape: Shape) -> None:
    note(shape.text())
    try:
        picture = picture_of(workflow_of(read_yaml(shape.text(), "random.yaml"), REGISTRY))
    except InvalidDefinition:
        assume(False)
        raise
    order = [box.name for box in picture.boxes]
    assert sorted(order) == sorted(["START", *shape.nodes, "END"])
    ways = sum(len(ways) for _, ways in shape.routes)
    assert len(picture.arrows) == ways + len(shape.errors)
    wave = {name: number for number, names in enumerate(waves_of(picture)) for name in names}
    wave |= {"START": -1, "END": len(order)}
    for arrow in picture.arrows:
        assert arrow.back == (wave[arrow.source] >= wave[arrow.target])
        assert arrow.loop or not arrow.back or _only_a_loop_leads_to(arrow.source, shape)
    found = boxes_of(svg(picture))
    assert all(apart(one, other) for one, other in combinations(found, 2))


def _only_a_loop_leads_to(node: str, shape: Shape) -> bool:
    """Whether no way without a loop edge leads from START to the node."""
    seen, todo = {"START"}, ["START"]
    while todo:
        source = todo.pop()
        for ways in (ways for start, ways in shape.routes if start == source):
            fresh = {way.target for way in ways if way.at_most is None}
            fresh |= {shape.errors[source]} if source in shape.errors else set()
            todo += fresh - seen
            seen |= fresh
    return node not in seen
