"""`merge: {custom: NAME}`: a function of the project says how writes to a name meet."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.flows import Flow, flow, saver_at
from ucop.agents.errors import InvalidDefinition, UnknownMerge
from ucop.agents.spec.merging import merge
from ucop.agents.spec.registry import Registry, load_registry
from ucop.agents.text.source import read_yaml
from ucop.graphs.errors import StateError
from ucop.graphs.workflows.catalog import Catalog
from ucop.graphs.workflows.stored import restore
from ucop.graphs.workflows.yaml_file import workflow_of

STATE = "state: {log: {type: array, items: string, merge: {custom: joined}}}\n"
FORK = "  - START -> a -> [b, c] -> d -> END"
NODES = "\n".join(f"  {name}: {{agent: step, writes: log}}" for name in "abcd")


@merge
def joined(old: list[str] | None, new: str) -> list[str]:
    """Changes what it gets, which is its own."""
    old = [] if old is None else old
    old.append(f"{len(old)}{new}")
    return old


def joining(nodes: str = NODES, edges: str = FORK, **options: Any) -> Flow:
    return flow(nodes, edges, STATE + "output: ${log}\n", python=[joined], **options)


async def _late(name: str) -> str:
    await asyncio.sleep(0.02)
    return name


@pytest.mark.parametrize("late", ["b", "c"])
async def test_given_parallel_writers_then_their_names_give_the_order_and_not_their_speed(
    late: str,
) -> None:
    found = joining(script={late: lambda run, value: _late(late)})
    assert await found.run() == ["0a", "1b", "2c", "3d"]
    assert found.ended.index(late) == 2


@pytest.mark.parametrize("after", [1, 2, 3])
async def test_given_a_kill_then_the_same_comes_out(after: int, tmp_path: Path) -> None:
    found = joining(script={"b": lambda run, value: _late("b")}, pause=0.004)
    async with saver_at(tmp_path / "s.db") as saver:
        running = asyncio.ensure_future(found.run(saver=saver))
        while len(found.ended) < after:
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    async with saver_at(tmp_path / "s.db") as saver:
        assert await found.resume(saver) == ["0a", "1b", "2c", "3d"]


async def test_given_a_condition_then_it_sees_what_the_merge_made() -> None:
    edges = """
  - START -> a
  - {from: a, to: [{node: b, when: "log == ['0a']"}, c]}
  - b -> END
  - c -> END"""
    nodes = "\n".join(f"  {name}: {{agent: step, writes: log}}" for name in "abc")
    found = joining(nodes, edges)
    assert await found.run() == ["0a", "1b"]


async def test_given_a_loop_then_each_round_adds() -> None:
    edges = """
  - START -> a
  - {from: a, to: [{node: a, at_most: 3}, END]}"""
    assert await joining("  a: {agent: step, writes: log}", edges).run() == ["0a", "1a", "2a", "3a"]


async def test_given_values_that_are_objects_then_they_are_only_values() -> None:
    @merge("last")
    def last(old: Any, new: Any) -> Any:
        return new

    odd = {"__overwrite__": [1]}
    nodes = "  a: {agent: step, writes: x}"
    rest = "state: {x: {merge: {custom: last}}}\noutput: ${x}\n"
    found = flow(nodes, "  - START -> a -> END", rest, script={"a": odd}, python=[last])
    assert await found.run() == odd


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (None, r"log cannot be written: must be a list"),
        ([1], r"log cannot be written: \[0\]: must be"),
        ([float("nan")], r"nan is not a JSON number"),
        (object(), r"a object is not JSON"),
        (ZeroDivisionError("no"), r"log cannot be merged: ZeroDivisionError: no"),
    ],
)
async def test_given_a_result_that_the_name_cannot_hold_then_the_merge_is_named(
    given: Any, told: str
) -> None:
    @merge("joined")
    def broken(old: Any, new: Any) -> Any:
        if isinstance(given, Exception):
            raise given
        return given

    found = flow("  a: {agent: step, writes: log}", "  - START -> a -> END", STATE, python=[broken])
    with pytest.raises(StateError, match=rf"merge joined \(test_custom_merge.py:\d+\): .*{told}"):
        await found.run()


async def test_given_a_broken_merge_then_a_mended_one_goes_on_with_the_answers_that_were_kept(
    tmp_path: Path,
) -> None:
    broken = [True]

    @merge("joined")
    def mended(old: list[str] | None, new: str) -> Any:
        return None if broken[0] else [*(old or []), new]

    edges = """
  - START -> [a, b]
  - {from: a, to: [{node: c, when: "size(log) > 0"}, END]}
  - b -> END
  - c -> END"""
    found = flow(
        "\n".join(f"  {name}: {{agent: step, writes: log}}" for name in "abc"),
        edges,
        STATE + "output: ${log}\n",
        python=[mended],
    )
    async with saver_at(tmp_path / "s.db") as saver:
        with pytest.raises(StateError, match="merge joined"):
            await found.run(saver=saver)
        broken[0] = False
        assert await found.resume(saver) == ["a", "b", "c"]
    assert found.counts == {"a": 1, "b": 1, "c": 1}


def test_given_a_job_then_it_needs_the_function_and_finds_it_again() -> None:
    workflow = joining().workflow
    assert workflow.needs == ("agent:step", "merge:joined")
    kept = json.loads(json.dumps(workflow.stored))
    registry = joining().registry
    catalog = Catalog(None, (), registry)
    assert "merge:joined" in catalog.supplies()
    back = restore(kept, catalog=catalog, registry=registry)
    assert back.fingerprint == workflow.fingerprint
    assert back.needs == workflow.needs
    with pytest.raises(UnknownMerge, match="there is no merge named 'joined'; mark a function"):
        restore(kept, catalog=catalog, registry=flow("a", "  - START -> a -> END").registry)


def test_given_an_unknown_name_then_its_place_and_the_nearest_are_told() -> None:
    text = f"name: f\n{STATE}nodes: {{a: {{agent: step, writes: log}}}}\n".replace(
        "joined", "jioned"
    )
    with pytest.raises(InvalidDefinition) as caught:
        workflow_of(read_yaml(text, "f.yaml"), joining().registry)
    (found,) = caught.value.findings
    assert (found.code, found.hint) == ("unknown-merge", "did you mean 'joined'?")
    assert found.position is not None
    assert (found.position.line, found.position.column) == (2, 59)


def test_given_a_projects_module_then_its_merges_are_found_and_clashes_told(tmp_path: Path) -> None:
    source = "from ucop.agents import merge\n\n@merge\ndef newest(old, new):\n    return new\n"
    (tmp_path / "merging_one.py").write_text(source)
    registry = load_registry(tmp_path, ["merging_one.py"])
    assert list(registry.merges) == ["newest"]
    assert registry.merge("newest").origin == "merging_one.py:3"
    assert list(registry.extended([]).merges) == ["newest"]
    (tmp_path / "merging_two.py").write_text(source)
    with pytest.raises(InvalidDefinition, match="two merges are named 'newest'"):
        load_registry(tmp_path, ["merging_*.py"])


def test_given_a_function_that_cannot_merge_then_it_is_refused() -> None:
    unfit: dict[str, Any] = {
        r"only_one: a merge takes two values": only_one,
        r"cannot be async": later,
        r"a generator": several,
    }
    for why, function in unfit.items():
        with pytest.raises(InvalidDefinition, match=why):
            merge(function)
    with pytest.raises(TypeError, match="@merge marks functions"):
        merge("x")(max)
    with pytest.raises(TypeError, match="neither an Agent nor"):
        Registry.of(only_one)


def only_one(one: Any) -> Any:
    return one


async def later(old: Any, new: Any) -> Any:
    return new


def several(old: Any, new: Any) -> Any:
    yield new
