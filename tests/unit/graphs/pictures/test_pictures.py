"""Pictures of workflows: what is drawn, told apart without colour, and escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import combinations, pairwise
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from langgraph.graph import END as GRAPH_END
from langgraph.graph import START as GRAPH_START
from langgraph.graph import StateGraph
from typing_extensions import TypedDict

from tests.support.effort import effort
from ucop.agents.spec.function import agent
from ucop.agents.spec.registry import Registry
from ucop.agents.text.source import read_yaml
from ucop.graphs.language.kind import NodeKind
from ucop.graphs.pictures.picture import Arrow, Box, Picture, picture_of
from ucop.graphs.pictures.svg import svg
from ucop.graphs.pictures.text import dot, draw, mermaid
from ucop.graphs.workflows.python_workflow import PythonWorkflow
from ucop.graphs.workflows.yaml_file import workflow_of
from ucop.graphs.workflows.yaml_workflow import YamlWorkflow

SVG = "{http://www.w3.org/2000/svg}"


@agent("step")
def step(value: Any = None) -> Any:
    """Takes and gives anything."""
    return value


REGISTRY = Registry.of(step)

LOOPED = """\
name: looped
input: {topics: array}
nodes:
  draft: {agent: step, each: "${topics}", as: t, limit: 4, with: {value: "${t}"}, writes: texts}
  facts: {agent: step, writes: found}
  review: {agent: step, with: {value: "${texts}"}, writes: score}
edges:
  - START -> [draft, facts] -> review
  - from: review
    to:
      - {node: draft, when: "score < 7 && score > 0", at_most: 2}
      - {node: facts, when: "score == 0", at_most: 1}
      - END
"""


def workflow(text: str) -> YamlWorkflow:
    return workflow_of(read_yaml(text, "flow.yaml"), REGISTRY)


def of_kinds(kinds: Iterable[NodeKind], *, each: bool = False) -> Picture:
    boxes = [Box(name=f"n{kind.value}", kind=kind, lines=("does it",), each=each) for kind in kinds]
    names = ["START", *(box.name for box in boxes), "END"]
    return Picture(
        title="kinds",
        boxes=(Box(name="START"), *boxes, Box(name="END")),
        arrows=tuple(Arrow(source=a, target=b) for a, b in pairwise(names)),
    )


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


def test_a_picture_has_conditions_bounds_items_and_joins() -> None:
    picture = picture_of(workflow(LOOPED))
    boxes = {box.name: box for box in picture.boxes}
    assert list(boxes) == ["START", "draft", "facts", "review", "END"]
    assert boxes["draft"].lines == ("agent step", "each of topics, 4 at a time")
    assert boxes["draft"].each
    assert boxes["review"].joins
    assert boxes["review"].lines[-1] == "joins draft, facts"
    told = {(a.source, a.target): (a.when, a.bound, a.loop) for a in picture.arrows}
    assert told["review", "draft"] == ("score < 7 && score > 0", "at most 2 times", True)
    assert told["review", "facts"] == ("score == 0", "at most once", True)
    assert told["review", "END"] == ("otherwise", "", False)
    assert told["START", "draft"] == ("", "", False)


def test_edges_that_follow_from_references_are_drawn_too() -> None:
    picture = picture_of(
        workflow(
            "name: f\nnodes:\n  b: {agent: step, with: {value: '${x}'}}\n"
            "  a: {agent: step, writes: x}\n"
        )
    )
    assert {(a.source, a.target) for a in picture.arrows} == {
        ("START", "a"),
        ("a", "b"),
        ("b", "END"),
    }


def test_mermaid_keeps_ids_apart_from_names_and_dashes_loops() -> None:
    drawn = draw(workflow(LOOPED), "mermaid")
    assert drawn.splitlines()[:3] == ["%% looped", "graph TD;", '\tSTART(["START"]):::terminal']
    assert '\tn1("<b>draft</b><br/>agent step<br/>each of topics, 4 at a time"):::each' in drawn
    assert '\tn3 -.->|"score #60; 7 #38;#38; score #62; 0, at most 2 times"| n1;' in drawn
    assert '\tn3 -->|"otherwise"| END_;' in drawn


def test_dot_draws_a_loop_from_below() -> None:
    drawn = draw(workflow(LOOPED), "dot")
    assert '"draft" -> "review" [label="score < 7 && score > 0, at most 2 times"' in drawn
    assert "style=dashed, dir=back" in drawn
    assert '"START" -> "draft";' in drawn


def test_an_svg_shows_all_that_is_told() -> None:
    shown = texts(draw(workflow(LOOPED), "svg"))
    assert {"START", "END", "draft", "review", "at most 2 times", "otherwise"} <= set(shown)
    assert "joins draft, facts" in shown


def test_an_svg_begins_at_the_top_and_ends_at_the_bottom() -> None:
    places = {
        "".join(one.itertext()): float(one.get("y", ""))
        for one in tree(draw(workflow(LOOPED), "svg")).iter(f"{SVG}text")
    }
    assert places["START"] == min(places.values())
    assert places["END"] == max(places.values())
    assert places["draft"] < places["review"]


@pytest.mark.parametrize("each", [False, True])
def test_kinds_differ_in_shape_in_every_format(each: bool) -> None:
    kinds = [NodeKind.agent, NodeKind.workflow, NodeKind.ask, NodeKind.mesh]
    for drawn in (svg, mermaid, dot):
        shapes = {_bare(drawn(of_kinds([kind], each=each)), kind) for kind in kinds}
        assert len(shapes) == len(kinds)
    for kind in kinds:
        for drawn in (svg, mermaid, dot):
            assert drawn(of_kinds([kind], each=True)) != drawn(of_kinds([kind]))


def _bare(text: str, kind: NodeKind) -> str:
    """A picture without names, colours and numbers: what is left is shape."""
    text = re.sub("<style>.*</style>", "", text, flags=re.DOTALL).replace(kind.value, "")
    return re.sub(r"[0-9.]+", "", text)


def test_nodes_and_labels_do_not_overlap() -> None:
    lines = [f"  n{i}: {{agent: step, writes: v{i}}}" for i in range(30)]
    edges = [f"  - START -> n0\n  - n{i} -> n{i + 1}" for i in range(29)]
    edges += [f"  - n{i} -> n{i + 5}" for i in range(0, 24, 3)]
    edges.append("  - {from: n29, to: [{node: n3, when: 'v29 == 1', at_most: 3}, END]}")
    text = "name: wide\nnodes:\n" + "\n".join(lines) + "\nedges:\n" + "\n".join(edges)
    found = boxes_of(draw(workflow(text), "svg"))
    assert len(found) == 32
    assert all(apart(one, other) for one, other in combinations(found, 2))


def test_two_hundred_nodes_are_drawn_with_little_effort() -> None:
    lines = [f"  n{i}: {{agent: step, writes: v{i}}}" for i in range(200)]
    edges = [f"  - {'START' if i < 2 else f'n{i - 2}'} -> n{i}" for i in range(200)]
    edges += ["  - n198 -> END", "  - n199 -> END"]
    edges += [f"  - n{i} -> n{i + 7}" for i in range(0, 180, 9)]
    found = workflow("name: big\nnodes:\n" + "\n".join(lines) + "\nedges:\n" + "\n".join(edges))
    assert len(boxes_of(draw(found, "svg"))) == 200
    assert effort(lambda: draw(found, "svg")) < 20, "3 when this was written"


anything = st.text(st.characters(codec=None), max_size=60)


@settings(max_examples=150, deadline=None)
@example(name="\udcff", line="\udcff", when="\r")
@example(name="", line="", when="0\r")
@given(name=anything, line=anything, when=anything)
def test_no_text_breaks_out_of_a_picture(name: str, line: str, when: str) -> None:
    picture = Picture(
        title=name,
        boxes=(
            Box(name="START"),
            Box(name=f"a{name}", kind=NodeKind.agent, lines=(line,)),
            Box(name="END"),
        ),
        arrows=(
            Arrow(source="START", target=f"a{name}"),
            Arrow(source=f"a{name}", target="END", when=when),
            Arrow(source=f"a{name}", target=f"a{name}", when=when, bound="at most once", loop=True),
        ),
    )
    drawn = tree(svg(picture))
    names = {one.tag for one in drawn.iter()} - {
        f"{SVG}{tag}"
        for tag in ("svg", "title", "style", "defs", "marker", "path", "rect", "g", "circle")
    }
    assert names <= {f"{SVG}text"}
    for line in mermaid(picture).splitlines()[2:]:
        assert re.fullmatch(_MERMAID_LINE, line), line
    assert len(re.findall(r'(?<!\\)(?:\\\\)*"', dot(picture))) % 2 == 0


_WORDS = r'"(?:<b>|</b>|<br/>|#\d+;|[\w .,:/()=+-])*"'
_MERMAID_LINE = re.compile(
    rf"\t(?:\w+[(\[{{]+{_WORDS}[)\]}}]+(?::::\w+)?"
    rf"|\w+ (?:-\.->|-->)(?:\|{_WORDS}\|)? \w+;|classDef .*)"
)


class State(TypedDict):
    n: int


def acting() -> Any:
    graph = StateGraph(State)
    for name in ("plan", "act", "check"):
        graph.add_node(name, lambda state: state)
    # The way back is told first: which edge is the loop must not depend on that.
    graph.add_conditional_edges("check", lambda state: "a", {"again": "act", "done": GRAPH_END})
    graph.add_edge("act", "check")
    graph.add_edge("plan", "act")
    graph.add_edge(GRAPH_START, "plan")
    return graph


def test_mermaid_of_a_python_graph_is_langgraphs_own() -> None:
    found = PythonWorkflow("acting", acting())
    assert draw(found, "mermaid") == acting().compile().get_graph().draw_mermaid()


def test_a_python_graph_is_drawn_with_branches_and_its_way_back() -> None:
    picture = picture_of(PythonWorkflow("acting", acting()))
    told = {(a.source, a.target): (a.when, a.loop) for a in picture.arrows}
    assert told == {
        ("START", "plan"): ("", False),
        ("plan", "act"): ("", False),
        ("act", "check"): ("", False),
        ("check", "act"): ("again", True),
        ("check", "END"): ("done", False),
    }
    assert {"plan", "act", "check", "again", "done"} <= set(
        texts(draw(PythonWorkflow("acting", acting()), "svg"))
    )


def test_a_node_that_only_a_loop_leads_to_comes_after_it() -> None:
    found = workflow(
        "name: f\nnodes:\n  score: {agent: step, writes: s}\n  revise: {agent: step, writes: t}\n"
        "edges:\n  - START -> score\n  - revise -> score\n"
        "  - {from: score, to: [{node: revise, when: 's < 3', at_most: 2}, END]}\n"
    )
    picture = picture_of(found)
    assert [box.name for box in picture.boxes] == ["START", "score", "revise", "END"]
    assert not any(box.joins for box in picture.boxes)
    told = {(a.source, a.target): (a.loop, a.back) for a in picture.arrows}
    assert told["score", "revise"] == (True, False)
    assert told["revise", "score"] == (False, True)
    places = {
        "".join(one.itertext()): float(one.get("y", ""))
        for one in tree(draw(found, "svg")).iter(f"{SVG}text")
    }
    assert places["START"] < places["score"] < places["revise"] < places["END"]
