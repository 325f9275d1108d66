"""A twin on bare LangGraph, with LangGraph's own saver."""

from __future__ import annotations

import asyncio
import copy
import warnings
from collections.abc import Mapping
from typing import Any, Self
from uuid import uuid4

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import StateGraph
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command

from tests.twins.play import Asked, Part, Rest, Saved, Task
from tests.twins.shape import masked, shape
from tests.twins.twin import Again, Edit, Fork, Move, Twin
from ucop.agents.text.plain import shown

LONG = 60.0
"""Seconds after which a graph of the corpus counts as stuck."""

MODES = ("values", "updates", "custom", "tasks", "checkpoints", "messages")


class Bare:
    """One run after the other of one graph, on one thread."""

    def __init__(self, twin: Twin, *, stream: bool = False) -> None:
        self._twin, self._stream = twin, stream
        self._saver = InMemorySaver(serde=JsonPlusSerializer(allowed_msgpack_modules=True))
        self._graph = bound(twin.build(), self._saver, InMemoryStore())
        self._config = _with_thread(twin.config, f"bare-{uuid4()}")
        self._parts: list[Part] = []
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._runner.close()

    def start(self) -> Rest:
        return self._run(copy.deepcopy(self._twin.input))

    def answer(self, question: Asked, value: Any) -> Rest:
        return self._run(Command(resume={question.id: value}))

    def resume(self) -> Rest:
        return self._run(None)

    def retry(self) -> Rest:
        return self._run(None)

    def move(self, move: Move) -> Rest:
        match move:
            case Again(input):
                return self._run(copy.deepcopy(input))
            case Edit(replace, as_node):
                self._await(self._graph.aupdate_state(self._config, dict(replace), as_node))
                return self._run(None)
            case Fork(at, update, as_node):
                config = self._first_before(at)
                if update:
                    writes = self._graph.aupdate_state(config, dict(update), as_node)
                    config = self._await(writes)
                # From here on, the thread's newest checkpoint is the fork's own.
                return self._run(None, config)

    def history(self) -> tuple[tuple[Saved, ...], tuple[tuple[str, int, str], ...]]:
        saved: tuple[tuple[Saved, ...], tuple[tuple[str, int, str], ...]]
        saved = self._await(history(self._graph, self._saver, self._config))
        return saved

    def parts(self) -> tuple[Part, ...]:
        return tuple(self._parts)

    def _run(self, input: Any, config: Mapping[str, Any] | None = None) -> Rest:
        async def work() -> Rest:
            try:
                async with asyncio.timeout(LONG):
                    result = await self._invoke(input, dict(config or self._config))
            except Exception as error:
                return Rest("failed", error=(type(error).__name__, masked(str(error))))
            state = await self._graph.aget_state(self._config)
            asked = tuple(
                Asked(question.id, task.name, shown(question.value))
                for task in state.tasks
                for question in task.interrupts
            )
            if asked or state.next:
                return Rest("waiting", questions=asked)
            return Rest("completed", result=result)

        return self._await(work())  # type: ignore[no-any-return]

    async def _invoke(self, input: Any, config: dict[str, Any]) -> Any:
        given = {"context": self._twin.context} if self._twin.context is not None else {}
        if not self._stream:
            return shown(await self._graph.ainvoke(input, config, **given))
        values: Any = None
        self._stream = False  # what follows the first rest is not compared
        async for part in self._graph.astream(
            input, config, stream_mode=list(MODES), subgraphs=True, version="v2", **given
        ):
            if part["type"] == "values" and not part["ns"]:
                values = part["data"]
            self._parts.append(told(part))
        return shown(values)

    def _first_before(self, node: str) -> Mapping[str, Any]:
        async def find() -> Any:
            found = None
            async for each in self._graph.aget_state_history(self._config):
                if node in each.next:
                    found = each.config
                if each.metadata["source"] == "input":
                    break  # what ran before is another job's
            return found

        return self._await(find())  # type: ignore[no-any-return]

    def _await(self, work: Any) -> Any:
        return self._runner.run(work)


def bound(made: Any, saver: Any, store: Any = None) -> Any:
    """The graph with a saver and a store, unless it was compiled with a store."""
    if isinstance(made, StateGraph):
        return made.compile(checkpointer=saver, store=store)
    return made.copy({"checkpointer": saver, "store": made.store or store})


async def history(
    graph: Any, saver: Any, config: Mapping[str, Any]
) -> tuple[tuple[Saved, ...], tuple[tuple[str, int, str], ...]]:
    """What LangGraph's own history of a thread says, and the checkpoints of graphs inside."""
    found = []
    try:
        async for state in graph.aget_state_history(config):
            if "ucop_base" not in state.metadata:  # there for an edit, and no state of its own
                found.append(_saved(state))
    except Exception as error:  # a state that its own schema refuses
        found.append(Saved(type(error).__name__, 0, masked(str(error)), (), ()))
    inside = []
    async for each in saver.alist({"configurable": {"thread_id": thread_of(config)}}):
        space = each.config["configurable"].get("checkpoint_ns", "")
        if space:
            inside.append((path_of(space), each.metadata["step"], each.metadata["source"]))
    return tuple(found), tuple(sorted(inside))


def _saved(state: Any) -> Saved:
    return Saved(
        source=state.metadata["source"],
        step=state.metadata["step"],
        values=shape(state.values),
        next=state.next,
        tasks=tuple(
            Task(
                name=task.name,
                error=None if task.error is None else _error(task.error),
                # Those of nodes inside this one come in the order of a set: by chance.
                questions=tuple(sorted((shape(e.value) for e in task.interrupts), key=repr)),
                result=shape(task.result),
            )
            for task in state.tasks
        ),
    )


def _error(error: Any) -> str:
    """Bare LangGraph keeps an error as its `repr`, ucop as what it was."""
    return masked(error if isinstance(error, str) else repr(error))


def thread_of(config: Mapping[str, Any]) -> str:
    thread: str = config["configurable"]["thread_id"]
    return thread


def path_of(space: str) -> str:
    """A namespace without its ids: a graph's nodes from the outermost on."""
    return "/".join(part.partition(":")[0] for part in space.split("|"))


def told(part: Mapping[str, Any]) -> Part:
    """A part of a stream of version 2, as JSON, and without what is new with every run."""
    path = "/".join(each.partition(":")[0] for each in part["ns"])
    data: Any = part["data"]
    match part["type"]:
        case "tasks":
            kept = ("name", "input", "triggers", "error", "interrupts", "result")
            data = {key: data[key] for key in kept if key in data}
            asked = [each["value"] for each in data.get("interrupts") or ()]
            data["interrupts"] = sorted(asked, key=repr)
            error = data.get("error")  # which travels as a text from one process to another
            data["error"] = repr(error) if isinstance(error, BaseException) else error
        case "updates" if "__interrupt__" in data:
            asked = [each.value for each in data["__interrupt__"]]
            data = {"__interrupt__": sorted(asked, key=repr)}
        case "checkpoints":
            data = {"values": data["values"], "next": data["next"]}
        case "messages":
            message, metadata = data
            data = {"message": message, "node": metadata.get("langgraph_node")}
    return Part(part["type"], path, shape(shown(data)))


def _with_thread(config: Mapping[str, Any], thread: str) -> dict[str, Any]:
    given = {**config.get("configurable", {}), "thread_id": thread}
    return {**config, "configurable": given}
