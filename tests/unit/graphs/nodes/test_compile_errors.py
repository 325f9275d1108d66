"""What `on_error` does, on real LangGraph with LangGraph's own SQLite saver."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.support.flows import Flow, answers, flow, saver_at
from ucop.engine.errors import Superseded
from ucop.graphs.errors import StateError


def fails(message: str = "broken") -> Any:
    def fail(run: int, value: Any) -> Any:
        raise ValueError(message)

    return fail


BROKEN = {"node": "a", "type": "ValueError", "message": "broken"}


async def test_given_continue_then_an_error_writes_null_and_the_edges_are_followed() -> None:
    goes_on = flow(
        "  a: {agent: step, writes: a_, on_error: continue}\n"
        "  b: {agent: step, with: {value: '${errors.a}'}, writes: b_}",
        "  - START -> a -> b -> END",
        script={"a": fails()},
    )
    assert await goes_on.run() == {"a_": None, "b_": BROKEN}


async def test_given_continue_then_a_condition_sees_the_error() -> None:
    text = "  - START -> a\n  - {from: a, to: [{node: b, when: 'errors.a != null'}, c]}\n"
    for script, taken in (({"a": fails()}, ["b"]), ({}, ["a", "c"])):
        choice = flow(
            "  a: {agent: step, on_error: continue}\n  b: {agent: step}\n  c: {agent: step}",
            text + "  - '[b, c] -> END'",
            script=script,
        )
        await choice.run()
        assert choice.ended == taken


async def test_given_a_node_for_errors_then_it_runs_instead_of_the_edges() -> None:
    text = (
        "  a: {agent: step, writes: a_, on_error: {node: x}}\n"
        "  x: {agent: step, with: {value: '${errors.a.message}'}, writes: x_}\n"
        "  b: {agent: step, writes: b_}\n  c: {agent: step, writes: c_}"
    )
    edges = "  - START -> a -> [b, c] -> END\n  - x -> END"
    broken = flow(text, edges, script={"a": fails()})
    assert await broken.run() == {"a_": None, "x_": "broken", "b_": None, "c_": None}
    assert broken.ended == ["x"]
    sound = flow(text, edges)
    await sound.run()
    assert sound.counts == {"a": 1, "b": 1, "c": 1}


async def test_given_an_error_in_one_branch_then_the_join_runs_once() -> None:
    fan = flow(
        "  a: {agent: step}\n  b: {agent: step, on_error: {node: x}}\n  c: {agent: step}\n"
        "  x: {agent: step}\n  d: {agent: step}",
        "  - START -> a -> [b, c] -> d -> END\n  - x -> d",
        script={"b": fails()},
    )
    await fan.run()
    assert fan.counts == {"a": 1, "c": 1, "x": 1, "d": 1}
    assert fan.ended[-1] == "d"


async def test_given_retry_then_the_error_is_caught_after_the_last_try() -> None:
    chain = flow(
        "  a: {agent: step, writes: a_, on_error: continue, retry: {attempts: 3, delay: 1ms}}",
        "  - START -> a -> END",
        "output: '${errors.a}'",
        script={"a": fails()},
    )
    assert await chain.run() == BROKEN
    assert chain.began == ["a", "a", "a"]
    assert len(set(chain.keys)) == 1


async def test_given_a_timeout_then_it_is_caught_too() -> None:
    slow = flow(
        "  a: {agent: step, writes: a_, on_error: continue, timeout: 30ms}",
        "  - START -> a -> END",
        "output: '${errors.a.type}'",
        pause=5,
    )
    assert await slow.run() == "NodeTimeoutError"
    assert slow.running["a"] == 0


async def test_given_an_input_that_cannot_be_filled_then_it_is_caught_too() -> None:
    null = flow(
        "  a: {agent: step, writes: a_}\n"
        "  b: {agent: step, with: {value: '${a_.x}'}, writes: b_, on_error: continue}",
        "  - START -> a -> b -> END",
        "output: '${errors.b.type}'",
        script={"a": answers(None)},
    )
    assert await null.run() == "ExpressionError"


async def test_given_an_answer_that_does_not_fit_the_state_then_it_is_caught_too() -> None:
    wrong = flow(
        "  a: {agent: step, writes: c, on_error: continue}",
        "  - START -> a -> END",
        "state: {c: string}\noutput: ['${c}', '${errors.a.type}']",
        script={"a": 3},
    )
    assert await wrong.run() == [None, StateError.__name__]


async def test_given_a_loop_then_an_error_of_an_earlier_round_is_gone() -> None:
    def once(run: int, value: Any) -> Any:
        if len(loop.began) == 1:
            raise ValueError("once")
        return "well"

    loop = flow(
        "  a: {agent: step, writes: a_, on_error: continue}",
        "  - START -> a\n  - {from: a, to: [{node: a, when: 'errors.a != null', at_most: 2}, END]}",
        "output: ['${a_}', '${errors.a}']",
        script={"a": once},
    )
    assert await loop.run() == ["well", None]
    assert loop.began == ["a", "a"]


async def test_given_an_error_that_leads_into_a_loop_then_its_bound_holds() -> None:
    loop = flow(
        "  a: {agent: step, on_error: {node: x}}\n  x: {agent: step}",
        "  - START -> a -> END\n  - {from: x, to: [{node: a, at_most: 2}, END]}",
        script={"a": fails()},
    )
    await loop.run()
    assert loop.began == ["a", "x", "a", "x", "a", "x"]


async def test_given_a_merged_name_then_an_error_adds_nothing_to_it() -> None:
    fan = flow(
        "  a: {agent: step, writes: c, on_error: continue}\n  b: {agent: step, writes: c}",
        "  - START -> [a, b] -> END",
        "state: {c: {merge: append}}",
        script={"a": fails()},
    )
    assert await fan.run() == {"c": ["b"]}


async def test_given_two_errors_at_once_then_both_are_told() -> None:
    fan = flow(
        "  a: {agent: step, on_error: continue}\n  b: {agent: step, on_error: continue}",
        "  - START -> [a, b] -> END",
        "output: '${errors}'",
        script={"a": fails("one"), "b": fails("two\0")},
    )
    told = await fan.run()
    assert (told["a"]["message"], told["b"]["message"]) == ("one", "two\ufffd")


async def test_given_an_error_that_ends_the_attempt_then_it_is_never_caught() -> None:
    def superseded(run: int, value: Any) -> Any:
        raise RuntimeError("wrapped") from Superseded("another attempt runs")

    for each in ("", "each: '${[1]}', "):
        chain = flow(
            f"  a: {{agent: step, {each}on_error: continue}}",
            "  - START -> a -> END",
            script={"a": superseded},
        )
        with pytest.raises(RuntimeError, match="wrapped"):
            await chain.run()


# ---- each ----

EACH = """
name: flow
input: {items: {type: [array, object]}}
state: {c: {type: [array, object, 'null'], items: integer}}
nodes:
  a: {agent: step, each: '${items}', as: it, limit: 3, with: {value: '${it}'}, writes: c, on_error: continue}
edges:
  - START -> a -> END
output: {c: '${c}', broken: '${errors.a}'}
"""


def odd_fail(run: int, value: int) -> int:
    if value % 2:
        raise ValueError(f"odd {value}")
    return value


async def test_given_each_then_null_stands_for_the_items_that_failed() -> None:
    each = Flow(EACH, {"a": odd_fail})
    told = await each.run({"items": [0, 1, 2, 3, 4]})
    assert told["c"] == [0, None, 2, None, 4]
    assert told["broken"] == {
        "node": "a",
        "type": "ValueError",
        "message": "odd 1",
        "items": [
            {"item": 1, "type": "ValueError", "message": "odd 1"},
            {"item": 3, "type": "ValueError", "message": "odd 3"},
        ],
    }


async def test_given_each_over_a_map_then_the_failed_items_are_told_by_key() -> None:
    each = Flow(EACH, {"a": odd_fail})
    told = await each.run({"items": {"p": 1, "q": 2}})
    assert told["c"] == {"p": None, "q": 2}
    assert [item["item"] for item in told["broken"]["items"]] == ["p"]


async def test_given_each_without_a_failed_item_then_there_is_no_error() -> None:
    assert await Flow(EACH, {"a": odd_fail}).run({"items": [2]}) == {"c": [2], "broken": None}


async def test_given_each_and_a_node_for_errors_then_the_other_items_are_kept() -> None:
    text = EACH.replace("on_error: continue}", "on_error: {node: x}}\n  x: {agent: step}").replace(
        "  - START -> a -> END", "  - START -> a -> END\n  - x -> END"
    )
    each = Flow(text, {"a": odd_fail})
    assert (await each.run({"items": [0, 1]}))["c"] == [0, None]
    assert each.ended == ["a", "x"]


# ---- kills ----


@pytest.mark.parametrize("after", range(1, 6))
async def test_given_a_kill_then_the_errors_are_known_when_the_run_goes_on(
    after: int, tmp_path: Path
) -> None:
    chain = flow(
        "  a: {agent: step, writes: a_, on_error: continue, retry: {attempts: 2, delay: 1ms}}\n"
        "  b: {agent: step, each: '${[1, 2, 3]}', with: {value: '${item}'}, writes: b_, "
        "on_error: continue}\n"
        "  c: {agent: step, with: {value: '${errors}'}, writes: c_}",
        "  - START -> a -> b -> c -> END",
        script={"a": fails(), "b": odd_fail},
        pause=0.002,
    )
    async with saver_at(tmp_path / "s.db") as saver:
        running = asyncio.ensure_future(chain.run(saver=saver))
        while len(chain.began) < after and not running.done():
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    async with saver_at(tmp_path / "s.db") as saver:
        graph = chain.workflow.graph().copy({"checkpointer": saver})
        begun = await graph.aget_state({"configurable": {"thread_id": "1"}})
        assert begun.values, "the run had begun"
        told = await chain.resume(saver)
    assert told["b_"] == [None, 2, None]
    assert told["c_"]["a"] == BROKEN
    assert [item["item"] for item in told["c_"]["b"]["items"]] == [0, 2]


DEFAULT = "defaults: {on_error: DEFAULT}\n"
THREE = (
    "\n".join(f"  {name}: {{agent: step, writes: {name}_}}" for name in ("a", "b"))
    + "\n  ex: {agent: step, writes: ex_}"
)


async def test_given_a_default_then_it_holds_for_nodes_without_a_policy_of_their_own() -> None:
    nodes = "  a: {agent: step, writes: a_}\n  b: {agent: step, writes: b_, on_error: fail}"
    default = DEFAULT.replace("DEFAULT", "continue")
    goes_on = flow(nodes, "  - START -> a -> b -> END", default, script={"a": fails()})
    assert await goes_on.run() == {"a_": None, "b_": "b"}
    broken = flow(nodes, "  - START -> a -> b -> END", default, script={"b": fails()})
    with pytest.raises(ValueError, match="broken"):
        await broken.run()


async def test_given_a_default_that_leads_to_a_node_then_its_own_errors_end_the_job() -> None:
    edges = "  - START -> a -> b -> END\n  - ex -> END"
    default = DEFAULT.replace("DEFAULT", "{node: ex}")
    for broken, ran in (("a", ["ex"]), ("b", ["a", "ex"])):
        excused = flow(THREE, edges, default, script={broken: fails()})
        await excused.run()
        assert excused.ended == ran
    both = flow(THREE, edges, default, script={"a": fails(), "ex": fails("worse")})
    with pytest.raises(ValueError, match="worse"):
        await both.run()


def test_given_a_default_then_questions_have_none() -> None:
    asks = flow(
        "  a: {ask: 'Well?', writes: a_}\n  b: {agent: step}",
        "  - START -> a -> b -> END",
        DEFAULT.replace("DEFAULT", "continue"),
    )
    assert asks.workflow.definition.catching == ("b",)
