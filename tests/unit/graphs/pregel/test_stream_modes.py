"""Stream modes that can be asked for, and given up, while a graph runs."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tracers._streaming import _StreamingCallbackHandler
from langgraph.pregel.protocol import StreamProtocol

from tests.support.streams import HELLO, talk
from ucop.graphs.pregel.stream_modes import ALWAYS, MODES, Emission


def test_a_mode_is_there_only_while_it_is_wanted_also_in_sets_made_before() -> None:
    emission = Emission()
    made = StreamProtocol(lambda chunk: None, set(emission.modes))  # type: ignore[arg-type]
    inner = {mode for stream in (made,) for mode in stream.modes}  # as LangGraph's DuplexStream
    for wanted in ({"debug"}, {"updates", "checkpoints"}, set[str]()):
        emission.want(wanted)
        for modes in (emission.modes, made.modes, inner):
            assert {mode for mode in MODES if mode in modes} == {*ALWAYS, *wanted}
            assert "tools" not in modes


def test_no_server_is_asked_for_what_nobody_wants() -> None:
    assert {str(mode) for mode in Emission().modes} == set(ALWAYS)


def test_models_are_made_to_stream_only_while_messages_are_wanted() -> None:
    emission = Emission()
    handler: BaseCallbackHandler = emission.handler
    assert not isinstance(handler, _StreamingCallbackHandler)
    emission.want({"messages"})
    assert isinstance(handler, _StreamingCallbackHandler)
    emission.want(set())
    assert not isinstance(handler, _StreamingCallbackHandler)


async def test_what_a_run_emits_changes_amid_it() -> None:
    asked: list[str] = []
    emission = Emission()
    graph: Any = talk(asked).compile()
    stream = graph.astream(
        HELLO,
        {"callbacks": [emission.handler]},
        stream_mode=emission.modes,
        version="v2",
        subgraphs=True,
    )
    emission.of(stream)
    kinds: list[set[str]] = [set()]
    async for part in stream:
        kinds[-1].add(part["type"])
        if part["type"] == "tasks" and part["data"].get("result") and part["data"]["name"] == "ask":
            emission.want({"messages", "updates"})
            kinds.append(set())
    assert asked == ["whole", "streamed"]
    assert kinds == [{"values", "tasks", "custom"}, {*ALWAYS, "messages", "updates"}]
