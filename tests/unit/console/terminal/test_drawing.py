"""Graphs in cells of text: what meets is joined, nothing covers anything, states need no colour."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, assume, given, note, settings
from rich.cells import cell_len

from tests.support.flows import Flow
from tests.support.graphs import chain
from tests.support.pictures import REGISTRY
from tests.support.shapes import Shape, shapes
from ucop.agents.errors import InvalidDefinition
from ucop.agents.text.source import read_yaml
from ucop.console.terminal.drawing.canvas import Canvas
from ucop.console.terminal.drawing.drawing import Drawing
from ucop.console.terminal.signs import SIGNS, clean, one_line, written
from ucop.console.terminal.widgets.listing import Column, widths
from ucop.console.view.jobs.progress import NodeState, Row
from ucop.graphs.language.definition import END, START
from ucop.graphs.pictures.picture import Box, picture_of, picture_of_kept
from ucop.graphs.workflows.python_workflow import PythonWorkflow
from ucop.graphs.workflows.yaml_file import workflow_of

LOOP = """\
name: article
nodes:
  research: {agent: step, writes: notes}
  outline: {agent: step, writes: outline}
  illustrate: {agent: step, writes: pictures}
  draft: {agent: step, each: "${default(outline, [])}", writes: draft}
  check: {agent: step, writes: check}
  ask: {ask: "Publish ウコップ?", answer: {type: boolean}, writes: decision}
edges:
  - START -> research -> [outline, illustrate] -> draft -> check
  - from: check
    to:
      - {node: draft, when: "check == 'again'", at_most: 2}
      - {node: ask}
  - ask -> END
"""


def plain(drawing: Drawing, states: dict[str, Row] | None = None) -> list[str]:
    return [row.plain for row in drawing.rows(states or {})]


def row(node: str, state: NodeState, *, runs: int = 1, items: str = "") -> Row:
    return Row(
        node=node,
        state=state,
        runs=runs,
        seconds=7.3,
        tokens_in=0,
        tokens_out=0,
        items=items,
        note="",
    )


def test_lines_that_meet_are_joined() -> None:
    canvas = Canvas()
    canvas.line([(0, 0), (4, 0), (4, 2)])
    canvas.line([(2, 0), (2, 2), (6, 2)])
    canvas.line([(2, 1), (6, 1)], dashed=True)
    assert [text.plain.rstrip() for text in canvas.rows()] == [
        "──┬─╮",
        "  ├╌┼╌╌",
        "  ╰─┴──",
    ]


def test_texts_cover_lines_and_wide_signs_take_two_cells() -> None:
    canvas = Canvas()
    canvas.line([(0, 0), (8, 0)])
    canvas.text(2, 0, "ウコ")
    (only,) = canvas.rows()
    assert only.plain == "──ウコ───"
    assert only.cell_len == 9


def assert_whole(rows: list[str], box: Box) -> None:
    """The box is drawn, with nothing over it."""
    sign = {START: "●", END: "◎"}.get(box.name, "·")
    found = [number for number, line in enumerate(rows) if f" {sign} {box.name} " in line]
    assert found, f"{box.name} is covered"
    number = found[0]
    if box.kind is not None:
        at = rows[number].index(f" {sign} {box.name} ")
        left, right = at - 1, rows[number].index("│", at)
        assert rows[number][left] == "│"
        assert (rows[number - 1][left], rows[number - 1][right]) == ("╭", "╮")
        assert (rows[number + 1][left], rows[number + 1][right]) == ("╰", "╯")


def test_every_node_stands_in_a_box_of_its_own_with_arrows_into_it() -> None:
    picture = picture_of(Flow(LOOP).workflow)
    rows = plain(Drawing(picture))
    for box in picture.boxes:
        assert_whole(rows, box)
    text = "\n".join(rows)
    assert text.count("▼") + text.count("▲") == len(picture.arrows)
    assert "check == 'again', at" in text
    assert "╎" in text
    assert "each: agent step" in text


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(shape=shapes())
def test_given_any_graph_then_every_node_of_it_is_seen(shape: Shape) -> None:
    note(shape.text())
    try:
        workflow = workflow_of(read_yaml(shape.text(), "random.yaml"), REGISTRY)
    except InvalidDefinition:
        assume(False)
        raise
    picture = picture_of(workflow)
    rows = plain(Drawing(picture))
    note("\n".join(rows))
    assert len({cell_len(line) for line in rows}) == 1
    for box in picture.boxes:
        assert_whole(rows, box)


def test_states_are_told_by_sign_and_word() -> None:
    drawing = Drawing(picture_of(Flow(LOOP).workflow))
    states = {
        "research": row("research", NodeState.DONE, runs=3),
        "outline": row("outline", NodeState.RUNNING, items="3/5"),
        "illustrate": row("illustrate", NodeState.FAILED),
        "ask": row("ask", NodeState.ASKS),
    }
    text = "\n".join(plain(drawing, states))
    for said in ("✓ research", "done 7.3 s ×3", "▶ outline", "running 3/5", "✗ illustrate"):
        assert said in text
    assert "? ask" in text
    assert "· draft" in text
    assert [len(line) for line in plain(drawing)] == [len(line) for line in plain(drawing, states)]


def test_where_a_node_stands_is_known() -> None:
    drawing = Drawing(picture_of(Flow(LOOP).workflow))
    rows = plain(drawing)
    assert all(f" {node} " in rows[drawing.row_of(node) + 1] for node in drawing.nodes)


def test_the_picture_that_a_job_keeps_is_that_of_its_workflow() -> None:
    workflow = Flow(LOOP).workflow
    kept, own = picture_of_kept(workflow.stored), picture_of(workflow)
    assert [box.name for box in kept.boxes] == [box.name for box in own.boxes]
    assert set(kept.arrows) == set(own.arrows)


def test_a_python_graph_is_drawn_from_what_the_job_keeps() -> None:
    stored = PythonWorkflow("flow", chain("a", "b")).stored
    picture = picture_of_kept(stored)
    assert [box.name for box in picture.boxes] == [START, "a", "b", END]
    assert {(arrow.source, arrow.target) for arrow in picture.arrows} == {
        (START, "a"),
        ("a", "b"),
        ("b", END),
    }
    # Jobs of older versions keep the names of the nodes alone.
    bare = {key: stored[key] for key in ("kind", "name", "nodes")}
    assert "leads anywhere" in "\n".join(plain(Drawing(picture_of_kept(bare))))


@pytest.mark.parametrize(
    ("width", "shown"), [(80, [11, 20, 45]), (40, [11, 15, 10]), (30, [11, 17])]
)
def test_columns_share_what_room_there_is(width: int, shown: list[int]) -> None:
    columns = (
        Column(title="status", least=11, most=11),
        Column(title="name", least=10, most=20, from_width=40),
        Column(title="reason", least=10, most=None),
    )
    assert [size for _, size in widths(columns, width)] == shown
    assert sum(shown) + 2 * (len(shown) - 1) == width


def test_nothing_in_a_text_steers_the_terminal() -> None:
    assert clean("a\x1b[31mb\x07c\x9bd\te\nf") == "a�[31mb�c�d e\nf"
    assert clean("a\u202eb\u2066") == "a�b�"
    assert clean("Grüße, ウコップ ✓") == "Grüße, ウコップ ✓"
    assert one_line("a\n  b\x1b") == "a b�"
    assert written("x" * 50, 10) == f"{'x' * 10}… (50 characters)"
    assert written({"a": [1]}, 100) == '{\n  "a": [\n    1\n  ]\n}'


def test_every_state_has_a_sign_of_one_cell() -> None:
    assert {cell_len(sign) for sign in SIGNS.values()} == {1}
    assert set(SIGNS) >= {state.value for state in NodeState}
