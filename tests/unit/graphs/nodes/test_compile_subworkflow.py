"""What `workflow` does, on real LangGraph with LangGraph's own SQLite saver."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from langgraph.types import Command

from tests.support.flows import Flow, flow, saver_at
from ucop.agents.errors import InvalidDefinition
from ucop.graphs.errors import InvalidInput
from ucop.graphs.pregel.names import way_to
from ucop.graphs.workflows.catalog import Catalog
from ucop.graphs.workflows.stored import restore
from ucop.graphs.workflows.yaml_workflow import YamlWorkflow

INNER = """
name: inner
input: {x: integer}
nodes:
  p: {agent: step, with: {value: "${x}"}, writes: y}
  q: {agent: step, each: "${[y, y + 1]}", with: {value: "${item}"}, writes: z}
output: ${z}
"""
OUTER = """
name: outer
nodes:
  a: {workflow: inner, with: {x: 1}, writes: one}
  b: {workflow: inner, each: "${[5, 6, 7]}", limit: 2, with: {x: "${item}"}, writes: two}
  c: {agent: step, with: {value: "${[one, two]}"}, writes: all}
output: ${all}
"""
TOLD = [[1, 2], [[5, 6], [6, 7], [7, 8]]]


def nested(folder: Path, outer: str = OUTER, inner: str = INNER, **options: Any) -> Flow:
    """A flow whose workflow is `outer`, in a project that has `inner` too."""
    (folder / "inner.yaml").write_text(inner, encoding="utf-8")
    (folder / "outer.yaml").write_text(outer, encoding="utf-8")
    found = flow("a", "  - START -> a -> END", **options)
    workflow = Catalog(folder, ("*.yaml",), found.registry).get("outer")
    assert isinstance(workflow, YamlWorkflow)
    found.workflow = workflow
    return found


async def test_given_a_workflow_as_a_node_then_its_output_is_the_nodes_answer(
    tmp_path: Path,
) -> None:
    outer = nested(tmp_path)
    assert await outer.run() == TOLD
    assert outer.counts == {"p": 4, "q": 8, "c": 1}
    assert len(set(outer.keys)) == 13
    assert {node for node, _ in outer.told} == {"a/p", "a/q", "b/p", "b/q", "c"}


@pytest.mark.parametrize("after", [1, 3, 5, 8, 12])
async def test_given_a_kill_then_it_goes_on_inside(after: int, tmp_path: Path) -> None:
    outer = nested(tmp_path, pause=0.004)
    async with saver_at(tmp_path / "s.db") as saver:
        running = asyncio.ensure_future(outer.run(saver=saver))
        while len(outer.ended) < after and not running.done():
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    done = len(outer.ended)
    async with saver_at(tmp_path / "s.db") as saver:
        assert await outer.resume(saver) == TOLD
    # Only what ran when the run was stopped may have run again: at most a and two items of b,
    # each with one p or two q.
    assert len(outer.ended) <= 13 + 6
    assert len(outer.began) - 13 <= 6
    assert done >= after


async def test_given_an_error_inside_then_the_node_may_catch_it(tmp_path: Path) -> None:
    def odd(run: int, value: int) -> int:
        if value == 6:
            raise ValueError("six")
        return value

    caught = OUTER.replace("writes: two}", "writes: two, on_error: continue}")
    outer = nested(tmp_path, caught, script={"p": odd})
    assert (await outer.run())[1] == [[5, 6], None, [7, 8]]
    broken = nested(tmp_path, OUTER, script={"p": odd})
    with pytest.raises(ValueError, match="six"):
        await broken.run()


async def test_given_retry_then_a_workflow_goes_on_inside(tmp_path: Path) -> None:
    def once(run: int, value: int) -> int:
        if len(outer.began) == 2:
            raise ValueError("once")
        return value

    text = "name: outer\nnodes:\n  a: {workflow: inner, with: {x: 1}, writes: one, retry: {delay: 1ms}}\n"
    outer = nested(tmp_path, text, script={"q": once})
    async with saver_at(tmp_path / "s.db") as saver:
        assert await outer.run(saver=saver) == {"one": [1, 2]}
    assert outer.counts["p"] == 1, "it had ended before the error"


async def test_given_a_question_inside_then_the_answer_reaches_it(tmp_path: Path) -> None:
    inner = "name: inner\ninput: {x: integer}\nnodes:\n  p: {ask: 'Is it ${x}?', answer: boolean, writes: y}\noutput: ${y}\n"
    outer = nested(
        tmp_path,
        OUTER.replace("c: {agent: step, with: {value: ", "c: {agent: step, with: {value: "),
        inner,
    )
    async with saver_at(tmp_path / "s.db") as saver:
        await outer.run(saver=saver)
        graph = outer.workflow.graph().copy({"checkpointer": saver})
        state = await graph.aget_state({"configurable": {"thread_id": "1"}})
        asked = {str(question.value): question.id for question in state.interrupts}
        assert sorted(asked) == ["Is it 1?", "Is it 5?", "Is it 6?", "Is it 7?"]
        answers = {id: text == "Is it 6?" for text, id in asked.items()}
        told = await outer.go(Command(resume=answers), saver, "1")
    assert told == [False, [False, True, False]]


async def test_given_a_value_that_the_workflow_does_not_take_then_the_input_is_told(
    tmp_path: Path,
) -> None:
    text = "name: outer\nnodes:\n  a: {agent: step, writes: v}\n  b: {workflow: inner, with: {x: '${v}'}, writes: w}\n"
    outer = nested(tmp_path, text, script={"a": "text"})
    with pytest.raises(InvalidInput, match="x: must be a whole number"):
        await outer.run()


def test_given_a_job_then_it_keeps_the_workflows_inside_too(tmp_path: Path) -> None:
    outer = nested(tmp_path)
    kept = json.loads(json.dumps(outer.workflow.stored))
    catalog = Catalog(None, (), outer.registry)
    back = restore(kept, catalog=catalog, registry=outer.registry)
    assert back.fingerprint == outer.workflow.fingerprint
    outer.workflow = back  # type: ignore[assignment]
    assert asyncio.run(outer.run()) == TOLD


def test_given_a_change_inside_then_the_outer_workflow_changes_too(tmp_path: Path) -> None:
    outer = nested(tmp_path)
    catalog = Catalog(tmp_path, ("*.yaml",), outer.registry)
    before = catalog.get("outer")
    assert catalog.get("outer") is before
    (tmp_path / "inner.yaml").write_text(INNER.replace("y + 1", "y + 2"), encoding="utf-8")
    after = catalog.get("outer")
    assert after.fingerprint != before.fingerprint


def test_given_workflows_that_run_each_other_then_they_are_refused(tmp_path: Path) -> None:
    inner = "name: inner\nnodes:\n  p: {workflow: outer, writes: y}\n"
    with pytest.raises(InvalidDefinition) as caught:
        nested(tmp_path, "name: outer\nnodes:\n  a: {workflow: inner, writes: y}\n", inner)
    assert "it runs itself: outer -> inner -> outer" in str(caught.value)
    with pytest.raises(InvalidDefinition, match="it runs itself: outer -> outer"):
        nested(tmp_path, "name: outer\nnodes:\n  a: {workflow: outer, writes: y}\n", INNER)


@pytest.mark.parametrize(
    ("given", "code", "place"),
    [
        ("workflow: iner, with: {x: 1}", "unknown-workflow", "4:17"),
        ("workflow: inner", "missing-input", "4:3"),
        ("workflow: inner, with: {x: one}", "wrong-input", "4:34"),
        ("workflow: inner, with: {x: 1, z: 2}", "unknown-input", "4:37"),
    ],
)
def test_given_a_node_that_does_not_fit_its_workflow_then_the_place_is_told(
    given: str, code: str, place: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        nested(tmp_path, f"\nname: outer\nnodes:\n  a: {{{given}, writes: y}}\n")
    (finding,) = caught.value.findings
    assert finding.position is not None
    assert (finding.code, f"{finding.position.line}:{finding.position.column}") == (code, place)


def test_given_a_namespace_then_the_way_to_a_node_names_no_items() -> None:
    assert way_to((), "a") == "a"
    assert way_to(("b:1", "b?item:2"), "b") == "b/b"
    assert way_to(("a:1", "b:2", "b?call:3"), "c?item") == "a/b/c?item"
