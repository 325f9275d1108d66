"""What compiled workflows do, on real LangGraph with LangGraph's own SQLite saver."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphDrained
from langgraph.runtime import RunControl
from langgraph.types import Command

from tests.support.flows import Flow, answers, flow, saver_at
from ucop.agents.run.context import AgentContext
from ucop.agents.spec.function import agent
from ucop.agents.spec.registry import Registry
from ucop.agents.text.source import read_yaml
from ucop.graphs.errors import ExpressionError, StateError
from ucop.graphs.nodes.routing import RoutingError
from ucop.graphs.workflows.yaml_file import workflow_of


async def test_given_a_chain_then_every_node_runs_once_in_order() -> None:
    chain = flow("a b c", "  - START -> a -> b -> c -> END")
    result = await chain.run()
    assert chain.ended == ["a", "b", "c"]
    assert result == {"a_": "a", "b_": "b", "c_": "c"}


async def test_given_a_fan_out_then_the_join_runs_once_after_all_branches() -> None:
    fan = flow("a b c d", "  - START -> a -> [b, c] -> d -> END")
    await fan.run()
    assert fan.counts == {"a": 1, "b": 1, "c": 1, "d": 1}
    assert fan.ended[-1] == "d"


async def test_given_branches_of_different_length_then_the_join_waits_for_the_longest() -> None:
    uneven = flow(
        "a b c1 c2 c3 d", "  - START -> a -> [b, c1]\n  - b -> d\n  - c1 -> c2 -> c3 -> d -> END"
    )
    await uneven.run()
    assert uneven.counts["d"] == 1
    assert uneven.ended[-1] == "d"


async def test_given_a_branch_that_is_not_taken_then_the_join_runs_all_the_same() -> None:
    skipped = flow(
        "a b c d",
        "  - START -> a -> b -> d -> END\n"
        "  - {from: a, to: [{node: c, when: 'a_ == \"no\"'}, END]}\n  - c -> d",
    )
    await skipped.run()
    assert skipped.counts == {"a": 1, "b": 1, "d": 1}


async def test_given_a_late_choice_to_leave_then_the_join_runs_once() -> None:
    late = flow(
        "a b c x d",
        "  - START -> a -> [b, c]\n  - b -> d -> END\n"
        "  - c -> x\n  - {from: x, to: [{node: d, when: 'false'}, END]}",
    )
    await late.run()
    assert late.counts == {"a": 1, "b": 1, "c": 1, "x": 1, "d": 1}


async def test_given_END_then_only_its_own_branch_ends() -> None:
    ends = flow("a b c", "  - START -> a -> [b, c]\n  - b -> END\n  - c -> END")
    await ends.run()
    assert ends.counts == {"a": 1, "b": 1, "c": 1}


async def test_given_conditions_then_the_first_that_holds_is_taken() -> None:
    text = (
        "  - START -> a\n"
        "  - {from: a, to: [{node: b, when: 'a_ > 10'}, {node: c, when: 'a_ > 5'}, d]}\n"
        "  - '[b, c, d] -> END'"
    )
    for answer, taken in ((11, "b"), (6, "c"), (1, "d")):
        choice = flow("a b c d", text, script={"a": answer})
        await choice.run()
        assert choice.ended == ["a", taken]


async def test_given_a_choice_at_the_start_then_the_input_decides() -> None:
    text = "  - {from: START, to: [{node: a, when: 'fast'}, b]}\n  - '[a, b] -> END'"
    for fast, taken in ((True, "a"), (False, "b")):
        choice = flow("a b", text, "input: {fast: boolean}")
        await choice.run({"fast": fast})
        assert choice.ended == [taken]


async def test_given_several_edges_out_of_START_then_a_join_among_them_waits() -> None:
    start = flow("a b", "  - START -> [a, b]\n  - a -> b -> END")
    await start.run()
    assert start.ended == ["a", "b"]


async def test_given_a_loop_then_it_goes_round_at_most_so_often_and_then_goes_on() -> None:
    loop = flow(
        "a b c",
        "  - START -> a -> b\n  - {from: b, to: [{node: a, at_most: 3}, c]}\n  - c -> END",
    )
    await loop.run()
    assert loop.counts == {"a": 4, "b": 4, "c": 1}


async def test_given_a_loop_whose_condition_fails_then_it_is_left_early() -> None:
    loop = flow(
        "a b",
        "  - START -> a\n  - {from: a, to: [{node: a, when: 'a_ < 2', at_most: 9}, b]}\n  - b -> END",
        script={"a": answers(0, 1, 2)},
    )
    await loop.run()
    assert loop.counts == {"a": 3, "b": 1}


async def test_given_a_loop_in_a_loop_then_the_outer_edge_resets_the_inner_counter() -> None:
    nested = flow(
        "a b c",
        "  - START -> a -> b\n  - {from: b, to: [{node: b, at_most: 2}, c]}\n"
        "  - {from: c, to: [{node: a, at_most: 2}, END]}",
    )
    await nested.run()
    assert nested.counts == {"a": 3, "b": 9, "c": 3}


async def test_given_a_join_in_a_loop_then_it_runs_once_a_round() -> None:
    loop = flow(
        "a b c1 c2 d",
        "  - START -> a -> [b, c1]\n  - b -> d\n  - c1 -> c2 -> d\n"
        "  - {from: d, to: [{node: a, at_most: 2}, END]}",
    )
    await loop.run()
    assert loop.counts == {"a": 3, "b": 3, "c1": 3, "c2": 3, "d": 3}


async def test_given_a_loop_out_of_one_branch_then_the_join_runs_once_at_the_end() -> None:
    loop = flow(
        "a b c d",
        "  - START -> a -> [b, c]\n  - {from: b, to: [{node: a, at_most: 2}, d]}\n  - c -> d -> END",
    )
    await loop.run()
    assert loop.counts == {"a": 3, "b": 3, "c": 3, "d": 1}


async def test_given_two_loop_edges_to_one_target_then_each_has_its_own_bound() -> None:
    loop = flow(
        "a b",
        "  - START -> a -> b\n  - from: b\n    to:\n"
        "      - {node: a, when: 'b_ == 1', at_most: 1}\n"
        "      - {node: a, when: 'b_ == 2', at_most: 2}\n      - END",
        script={"b": answers(1, 1, 2, 2, 2)},
    )
    await loop.run()
    assert loop.counts["b"] == 2

    loop = flow(
        "a b",
        "  - START -> a -> b\n  - from: b\n    to:\n"
        "      - {node: a, when: 'b_ == 1', at_most: 1}\n"
        "      - {node: a, when: 'b_ == 2', at_most: 2}\n      - END",
        script={"b": answers(1, 2, 2, 2)},
    )
    await loop.run()
    assert loop.counts["b"] == 4


async def test_given_no_edges_then_they_follow_from_the_references() -> None:
    derived = Flow(
        "name: flow\nnodes:\n"
        "  d: {agent: step, with: {value: '${b_} ${c_}'}, writes: d_}\n"
        "  b: {agent: step, with: {value: '${a_}b'}, writes: b_}\n"
        "  c: {agent: step, with: {value: '${a_}c'}, writes: c_}\n"
        "  a: {agent: step, writes: a_}\n"
        "output: ${d_}\n"
    )
    assert await derived.run() == "ab ac"
    assert derived.ended[0] == "a"
    assert derived.ended[-1] == "d"


# ---- a condition that raises ----


async def test_given_a_condition_that_raises_then_the_answer_is_kept_and_the_edge_named(
    tmp_path: Path,
) -> None:
    broken = flow(
        "a b c",
        "  - START -> a\n  - {from: a, to: [{node: b, when: 'a_.score > 1'}, c]}\n  - '[b, c] -> END'",
        script={"a": {"points": 3}},
    )
    async with saver_at(tmp_path / "s.db") as saver:
        with pytest.raises(RoutingError) as caught:
            await broken.run(saver=saver)
        assert "edge a -> b (flow.yaml:8:36)" in str(caught.value)
        assert "a_ has no 'score'" in str(caught.value)
        assert (await broken.state(saver))["a_"] == {"points": 3}
        with pytest.raises(RoutingError):
            await broken.resume(saver)
    assert broken.ended == ["a"]


async def test_given_the_state_was_put_right_then_the_broken_condition_is_tried_again(
    tmp_path: Path,
) -> None:
    broken = flow(
        "a b c",
        "  - START -> a\n  - {from: a, to: [{node: b, when: 'a_ > 1'}, c]}\n  - '[b, c] -> END'",
        script={"a": "x"},
    )
    async with saver_at(tmp_path / "s.db") as saver:
        with pytest.raises(RoutingError, match="these types do not go together"):
            await broken.run(saver=saver)
        graph = broken.workflow.graph().copy({"checkpointer": saver})
        thread: RunnableConfig = {"configurable": {"thread_id": "1"}}
        put_right = Command(update={"a_": 5}, goto="a?route")
        await graph.aupdate_state(thread, put_right, as_node="a")
        await broken.resume(saver)
    assert broken.ended == ["a", "b"]


async def test_given_a_condition_that_is_no_boolean_then_the_error_says_so() -> None:
    broken = flow(
        "a b", "  - START -> a\n  - {from: a, to: [{node: b, when: a_}, END]}\n  - b -> END"
    )
    with pytest.raises(RoutingError, match="gives 'a', not true or false"):
        await broken.run()


# ---- values ----


async def test_given_a_declared_name_then_it_is_null_until_written() -> None:
    early = flow(
        "  a: {agent: step, with: {value: '${later}'}, writes: a_}\n"
        "  b: {agent: step, writes: later}",
        "  - START -> a\n  - {from: a, to: [{node: b, at_most: 1}, b]}\n"
        "  - {from: b, to: [{node: a, at_most: 1}, END]}".replace("{node: b, at_most: 1}, b", "b"),
    )
    await early.run()
    assert early.values[0] == ("a", None)
    assert early.values[2] == ("a", "b")


async def test_given_a_state_default_then_it_is_there_from_the_start() -> None:
    state = flow(
        "  a: {agent: step, with: {value: '${n}'}, writes: n}",
        "  - START -> a -> END",
        "state: {n: {type: integer, default: 7}}",
    )
    assert await state.run() == {"n": 7}


@pytest.mark.parametrize(
    ("merge", "given", "merged"),
    [
        ("replace", answers(1, 2), 2),
        ("append", answers(1, [2]), [1, [2]]),
        ("append", answers({"__overwrite__": 1}, 2), [{"__overwrite__": 1}, 2]),
        ("extend", answers([1], [1, 2]), [1, 1, 2]),
        ("union", answers([1, 1], [True, 1, 2]), [1, True, 2]),
        ("sum", answers(1, 2), 3),
        ("max", answers(4, 2), 4),
    ],
)
async def test_given_a_merge_then_writes_meet_as_it_says(
    merge: str, given: Any, merged: Any
) -> None:
    twice = flow(
        "  a: {agent: step, writes: c}",
        "  - START -> a\n  - {from: a, to: [{node: a, at_most: 1}, END]}",
        f"state: {{c: {{merge: {merge}}}}}",
        script={"a": given},
    )
    assert await twice.run() == {"c": merged}


async def test_given_a_merge_then_parallel_nodes_may_write_one_name() -> None:
    fan = flow(
        "  a: {agent: step, writes: c}\n  b: {agent: step, writes: c}",
        "  - START -> [a, b] -> END",
        "state: {c: {merge: append}}",
    )
    assert sorted((await fan.run())["c"]) == ["a", "b"]


async def test_given_a_merge_then_a_condition_sees_the_merged_value() -> None:
    loop = flow(
        "  a: {agent: step, writes: c}",
        "  - START -> a\n  - {from: a, to: [{node: a, when: 'size(c) < 3', at_most: 9}, END]}",
        "state: {c: {merge: append}}",
    )
    assert await loop.run() == {"c": ["a", "a", "a"]}


@pytest.mark.parametrize(
    ("merge", "given", "needs"),
    [("extend", "x", "a list"), ("sum", [1], "a number"), ("sum", True, "a number")],
)
async def test_given_a_write_that_cannot_be_merged_then_node_and_name_are_told(
    merge: str, given: Any, needs: str
) -> None:
    wrong = flow(
        "  a: {agent: step, writes: c}",
        "  - START -> a -> END",
        f"state: {{c: {{merge: {merge}}}}}",
        script={"a": given},
    )
    with pytest.raises(StateError, match=f"node a: c is merged with {merge}, which needs {needs}"):
        await wrong.run()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"x": [2**63]}, r"node a: x\[0\]: the number does not fit into 64 bits"),
        ("\ud800", "node a: the text is not valid Unicode"),
        ({"x": "a\0b"}, "node a: x: the text holds a NUL character"),
    ],
)
async def test_given_a_value_that_JSON_cannot_hold_then_node_and_field_are_told(
    given: Any, told: str
) -> None:
    wrong = flow("a", "  - START -> a -> END", script={"a": given})
    with pytest.raises(StateError, match=told):
        await wrong.run()


async def test_given_a_declared_number_then_a_whole_number_becomes_a_float() -> None:
    number = flow(
        "  a: {agent: step, with: {value: '${n}'}, writes: m}\n"
        "  b: {agent: step, with: {value: '${m * 1.5 + n}'}, writes: o}",
        "  - START -> a -> b -> END",
        "input: {n: number}\nstate: {m: number}",
    )
    result = await number.run({"n": 2})
    assert result == {"m": 2.0, "o": 5.0}
    assert isinstance(result["m"], float)


async def test_given_a_declared_state_then_a_write_of_another_type_is_refused() -> None:
    wrong = flow(
        "  a: {agent: step, writes: c}",
        "  - START -> a -> END",
        "state: {c: {type: array, items: string}}",
        script={"a": ["x", 3]},
    )
    with pytest.raises(StateError, match=r"node a: c cannot be written: \[1\]: must be text"):
        await wrong.run()


async def test_given_a_reference_through_null_then_node_and_place_are_told() -> None:
    null = flow(
        "  a: {agent: step, writes: a_}\n  b: {agent: step, with: {value: '${a_.x}'}, writes: b_}",
        "  - START -> a -> b -> END",
        script={"a": None},
    )
    with pytest.raises(ExpressionError) as caught:
        await null.run()
    assert str(caught.value) == "node b, with.value (flow.yaml:4:34): a_.x: a_ is null"


async def test_given_a_branch_that_ended_early_then_the_output_has_null_for_its_path() -> None:
    early = flow(
        "a b",
        "  - START -> a\n  - {from: a, to: [{node: b, when: 'false'}, END]}\n  - b -> END",
        "output: {path: '${b_.path}', a: '${a_}'}",
    )
    assert await early.run() == {"path": None, "a": "a"}


async def test_given_two_jobs_on_one_thread_then_the_second_starts_anew(tmp_path: Path) -> None:
    loop = flow(
        "  a: {agent: step, writes: c}",
        "  - START -> a\n  - {from: a, to: [{node: a, at_most: 1}, END]}",
        "state: {c: {merge: append}}",
    )
    async with saver_at(tmp_path / "s.db") as saver:
        assert await loop.run(saver=saver) == {"c": ["a", "a"]}
        assert await loop.run(saver=saver) == {"c": ["a", "a"]}


async def test_given_a_job_then_only_JSON_and_declared_names_are_in_its_result() -> None:
    loop = flow(
        "a b c", "  - START -> [a, b] -> c\n  - {from: c, to: [{node: c, at_most: 1}, END]}"
    )
    assert set(await loop.run()) == {"a_", "b_", "c_"}


async def test_given_a_node_then_its_agent_gets_a_stable_key_and_tells_progress(
    tmp_path: Path,
) -> None:
    def fail_once(run: int, value: Any) -> Any:
        if len(chain.began) == 1:
            raise ValueError("once")
        return run

    chain = flow("a", "  - START -> a -> END", script={"a": fail_once})
    async with saver_at(tmp_path / "s.db") as saver:
        with pytest.raises(ValueError, match="once"):
            await chain.run(saver=saver)
        await chain.resume(saver)
    assert len(set(chain.keys)) == 1
    assert chain.keys[0].startswith("job/")
    assert chain.told == [("a", "a runs"), ("a", "a runs")]


# ---- each ----

EACH = """
name: flow
input: {items: {type: [array, object, 'null']}}
nodes:
  a: {agent: step, each: '${items}', as: it, limit: 3, with: {value: '${it}'}, writes: c}
edges:
  - START -> a -> END
output: ${c}
"""


async def test_given_each_over_a_list_then_results_are_in_order_and_never_more_than_the_limit() -> (
    None
):
    async def slower_first(run: int, value: int) -> int:
        await asyncio.sleep(0.02 - value * 0.002)
        return value * 10

    def work(run: int, value: int) -> Any:
        return slower_first(run, value)

    each = Flow(EACH, {"a": work})
    assert await each.run({"items": list(range(9))}) == [n * 10 for n in range(9)]
    assert each.most["a"] == 3


async def test_given_each_over_a_map_then_keys_and_their_order_are_kept() -> None:
    each = Flow(EACH)
    result = await each.run({"items": {"z": 1, "a": 2, "m": 3}})
    assert list(result.items()) == [("z", 1), ("a", 2), ("m", 3)]


@pytest.mark.parametrize("empty", [[], {}])
async def test_given_nothing_to_go_over_then_each_writes_nothing_and_the_run_goes_on(
    empty: Any,
) -> None:
    each = Flow(EACH)
    assert await each.run({"items": empty}) == empty
    assert each.ended == []


async def test_given_null_to_go_over_then_each_is_an_error_that_names_the_node() -> None:
    with pytest.raises(ExpressionError, match=r"node a: each needs a list or a map.* is null"):
        await Flow(EACH).run({"items": None})


async def test_given_each_in_a_loop_then_the_last_round_replaces_the_one_before() -> None:
    loop = flow(
        "  a: {agent: step, writes: xs}\n"
        "  b: {agent: step, each: '${xs}', as: x, with: {value: '${x}'}, writes: ys}",
        "  - START -> a -> b\n  - {from: b, to: [{node: a, at_most: 1}, END]}",
        script={"a": answers([1, 2, 3], [4])},
    )
    assert await loop.run() == {"xs": [4], "ys": [4]}
    assert loop.counts["b"] == 4


async def test_given_an_item_that_fails_then_finished_items_are_kept(tmp_path: Path) -> None:
    broken = {"now": True}

    def work(run: int, value: int) -> int:
        if value == 5 and broken["now"]:
            raise ValueError("five")
        return value

    each = Flow(EACH, {"a": work}, pause=0.001)
    async with saver_at(tmp_path / "s.db") as saver:
        with pytest.raises(ValueError, match="five"):
            await each.run({"items": list(range(12))}, saver=saver)
        before = [value for _, value in each.values]
        assert len(before) < 12
        broken["now"] = False
        assert await each.resume(saver) == list(range(12))
    again = [value for _, value in each.values][len(before) :]
    assert not set(again) & {0, 1, 2}
    assert each.running["a"] == 0


async def test_given_each_item_then_its_agent_has_a_key_of_its_own() -> None:
    each = Flow(EACH)
    await each.run({"items": [1, 2, 3]})
    assert len(set(each.keys)) == 3


async def test_given_a_drain_then_no_further_item_starts_and_none_runs_twice(
    tmp_path: Path,
) -> None:
    each = Flow(EACH, pause=0.002)
    control = RunControl()

    async def drain() -> None:
        while len(each.ended) < 20:
            await asyncio.sleep(0.001)
        control.request_drain("pause")

    async with saver_at(tmp_path / "s.db") as saver:
        stopper = asyncio.ensure_future(drain())
        first = each.workflow.start(each.workflow.accept({"items": list(range(100))}))
        with pytest.raises(GraphDrained):
            await each.go(first, saver, "1", control)
        await stopper
        assert 20 <= len(each.ended) <= 24
        assert await each.resume(saver) == list(range(100))
    assert len(each.ended) == 100


async def test_given_many_items_then_a_warning_is_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ucop.graphs.nodes.each.MANY_ITEMS", 20)
    await Flow(EACH).run({"items": list(range(21))})
    assert "node a runs over 21 items" in caplog.text


async def test_given_a_thousand_items_and_a_kill_then_only_what_was_not_done_runs_again(
    tmp_path: Path,
) -> None:
    text = EACH.replace("limit: 3", "limit: 20")
    each = Flow(text, pause=0.001)
    async with saver_at(tmp_path / "s.db") as saver:
        running = asyncio.ensure_future(each.run({"items": list(range(1_000))}, saver=saver))
        while len(each.ended) < 400:
            await asyncio.sleep(0.002)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    async with saver_at(tmp_path / "s.db") as saver:
        assert await each.resume(saver) == list(range(1_000))
    assert each.most["a"] == 20
    assert len(each.began) <= 1_000 + 20
    assert sorted({value for _, value in each.values}) == list(range(1_000))


# ---- retry and timeout ----


async def test_given_retry_then_a_call_that_fails_is_made_again() -> None:
    def twice(run: int, value: Any) -> Any:
        if len(chain.began) < 3:
            raise ValueError("not yet")
        return "done"

    chain = flow(
        "  a: {agent: step, writes: a_, retry: {attempts: 3, delay: 1ms}}",
        "  - START -> a -> END",
        script={"a": twice},
    )
    assert await chain.run() == {"a_": "done"}
    assert chain.began == ["a", "a", "a"]


async def test_given_retry_then_it_ends_after_the_attempts() -> None:
    def never(run: int, value: Any) -> Any:
        raise ValueError("never")

    chain = flow(
        "  a: {agent: step, writes: a_, retry: {attempts: 2, delay: 1ms}}",
        "  - START -> a -> END",
        script={"a": never},
    )
    with pytest.raises(ValueError, match="never"):
        await chain.run()
    assert chain.began == ["a", "a"]


async def test_given_retry_then_an_error_that_no_retry_cures_is_not_tried_again() -> None:
    chain = flow(
        "  a: {agent: step, writes: a_, retry: {attempts: 3, delay: 1ms}}",
        "  - START -> a -> END",
        script={"a": 2**63},
    )
    with pytest.raises(StateError):
        await chain.run()
    assert chain.began == ["a"]


async def test_given_retry_and_each_then_only_the_item_is_tried_again() -> None:
    failed: list[int] = []

    def work(run: int, value: int) -> int:
        if value == 1 and not failed:
            failed.append(value)
            raise ValueError("once")
        return value

    each = Flow(EACH.replace("limit: 3", "limit: 3, retry: {delay: 1ms}"), {"a": work})
    assert await each.run({"items": [0, 1, 2]}) == [0, 1, 2]
    assert sorted(value for _, value in each.values) == [0, 1, 1, 2]


async def test_given_a_timeout_then_a_call_that_takes_longer_is_stopped() -> None:
    from langgraph.errors import NodeTimeoutError

    for each in ("", "each: '${[1, 2]}', "):
        slow = flow(
            f"  a: {{agent: step, {each}writes: a_, timeout: 30ms}}",
            "  - START -> a -> END",
            pause=5,
        )
        with pytest.raises(NodeTimeoutError):
            await slow.run()
        assert slow.running["a"] == 0


async def test_given_a_timeout_and_each_then_waiting_for_a_turn_does_not_count() -> None:
    each = Flow(EACH.replace("limit: 3", "limit: 1, timeout: 400ms"), pause=0.1)
    assert await each.run({"items": list(range(8))}) == list(range(8))


IDLE = "  a: {agent: step, EACHwrites: a_, timeout: {idle: 150ms, whole: 10s}}"


@pytest.mark.parametrize("each", ["", "each: '${[1]}', "])
async def test_given_an_idle_timeout_then_a_call_that_is_silent_too_long_is_stopped(
    each: str,
) -> None:
    from langgraph.errors import NodeTimeoutError

    silent = flow(IDLE.replace("EACH", each), "  - START -> a -> END", pause=5)
    with pytest.raises(NodeTimeoutError):
        await silent.run()
    assert silent.running["a"] == 0


@pytest.mark.parametrize("each", ["", "each: '${[1]}', "])
async def test_given_an_idle_timeout_then_a_call_that_tells_of_progress_goes_on(
    each: str,
) -> None:
    @agent("step")
    async def talks(context: AgentContext) -> str:
        for part in range(8):
            await asyncio.sleep(0.05)
            context.progress(f"part {part}")
        return "told"

    talking = flow(IDLE.replace("EACH", each), "  - START -> a -> END")
    text = f"name: flow\nnodes:\n{IDLE.replace('EACH', each)}\n"
    talking.workflow = workflow_of(read_yaml(text, "flow.yaml"), Registry.of(talks))
    assert await talking.run() == {"a_": ["told"] if each else "told"}


# ---- graphs as objects ----


def test_given_equal_definitions_then_the_compiled_graph_is_shared() -> None:
    one = flow("a", "  - START -> a -> END")
    assert one.workflow.graph() is one.workflow.graph()
    other = flow("a", "  - START -> a -> END")
    assert other.workflow.fingerprint == one.workflow.fingerprint
    assert other.workflow.graph() is not one.workflow.graph(), "its agents are others"


def test_given_a_workflow_then_it_lists_its_nodes_in_order_and_hides_the_compilers_own() -> None:
    fan = flow("d c b a", "  - START -> a -> [b, c] -> d -> END")
    assert fan.workflow.shown_nodes() == ["a", "c", "b", "d"]
    nodes = set(fan.workflow.graph().nodes) - {"__start__"}
    assert {node for node in nodes if not fan.workflow.hides(node)} == {"a", "b", "c", "d"}
    assert fan.workflow.shown_name("d?") == "d"


async def test_given_items_that_take_their_time_then_it_is_told_how_many_ended() -> None:
    go_on = asyncio.Event()

    async def late(run: int, value: int) -> int:
        if value >= 3:
            await go_on.wait()
        return value

    each = Flow(EACH, script={"a": late})
    running = asyncio.ensure_future(each.run({"items": list(range(5))}))
    async with asyncio.timeout(20):
        while ("a", "3/5") not in each.told:
            await asyncio.sleep(0.01)
    go_on.set()
    assert await running == list(range(5))
    counts = [text for node, text in each.told if node == "a" and "/" in text]
    assert counts == ["3/5", "5/5"]


async def test_given_a_thousand_quick_items_then_few_words_are_made_of_them() -> None:
    each = Flow(EACH.replace("limit: 3", "limit: 100"))
    assert len(await each.run({"items": list(range(1_000))})) == 1_000
    counts = [text for _, text in each.told if "/" in text]
    assert len(counts) < 100
    assert counts[-1:] in ([], ["1000/1000"])
