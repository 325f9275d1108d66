"""Messages: add_messages, RemoveMessage, and models called in nodes."""

from __future__ import annotations

from typing import Annotated, Any

from langchain_core.language_models.fake_chat_models import (
    FakeListChatModel,
    GenericFakeChatModel,
)
from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
    trim_messages,
)
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES, add_messages, push_message
from langgraph.types import interrupt
from typing_extensions import TypedDict

from tests.twins.models import scripted
from tests.twins.nodes import chain
from tests.twins.twin import Again, twin
from tests.twins.witness import saw

HELLO = {"messages": [{"role": "user", "content": "hello", "id": "m1"}]}


def replies(text: str, **more: Any) -> Any:
    def node(state: Any) -> dict[str, Any]:
        saw(text)
        return {"messages": [AIMessage(text, id=f"id {text}", **more)]}

    return node


@twin(input=HELLO)
def a_conversation() -> Any:
    return chain(replies("one"), replies("two"), schema=MessagesState)


@twin(input={"messages": [["user", "hello"], ["assistant", "yes?"]]})
def messages_as_pairs() -> Any:
    return chain(replies("one"), schema=MessagesState)


@twin(input={"messages": "hello"})
def a_message_as_a_text() -> Any:
    return chain(replies("one"), schema=MessagesState)


@twin(input=HELLO, then=(Again({"messages": [{"role": "user", "content": "more", "id": "m2"}]}),))
def a_conversation_of_two_turns() -> Any:
    return chain(replies("one"), schema=MessagesState)


@twin(input=HELLO)
def a_message_that_replaces_another() -> Any:
    def node(state: Any) -> dict[str, Any]:
        return {"messages": [HumanMessage("changed", id="m1")]}

    return chain(replies("one"), node, schema=MessagesState)


@twin(input=HELLO)
def a_message_that_is_removed() -> Any:
    def node(state: Any) -> dict[str, Any]:
        return {"messages": [RemoveMessage(id="m1")]}

    return chain(replies("one"), node, schema=MessagesState)


@twin(input=HELLO)
def all_messages_are_removed() -> Any:
    def node(state: Any) -> dict[str, Any]:
        return {"messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES), HumanMessage("new", id="n")]}

    return chain(replies("one"), node, schema=MessagesState)


@twin(input=HELLO)
def a_removed_message_that_is_not_there() -> Any:
    def node(state: Any) -> dict[str, Any]:
        return {"messages": [RemoveMessage(id="unheard of")]}

    return chain(node, schema=MessagesState)


@twin(input=HELLO)
def messages_of_every_kind_over_a_question() -> Any:
    def write(state: Any) -> dict[str, Any]:
        call = {"name": "look", "args": {"at": [1]}, "id": "c1", "type": "tool_call"}
        return {
            "messages": [
                SystemMessage("be kind", id="s"),
                AIMessage([{"type": "text", "text": "parts"}], tool_calls=[call], id="a"),
                ToolMessage("seen", tool_call_id="c1", artifact={"raw": [1, 2]}, id="t"),
                HumanMessage("with a name", name="Ada", id="h", additional_kwargs={"k": 1}),
            ]
        }

    def ask(state: Any) -> dict[str, Any]:
        interrupt("go on?")
        kinds = " ".join(type(message).__name__ for message in state["messages"])
        return {"messages": [AIMessage(kinds, id="kinds")]}

    return chain(write, ask, schema=MessagesState)


class Note(HumanMessage):
    """A message class of a project's own."""

    mood: str = "fine"


@twin(input=HELLO)
def a_message_class_of_ones_own() -> Any:
    def write(state: Any) -> dict[str, Any]:
        return {"messages": [Note(content="noted", id="n", mood="good")]}

    def ask(state: Any) -> dict[str, Any]:
        interrupt("go on?")
        return {"messages": [AIMessage(type(state["messages"][-1]).__name__, id="kind")]}

    return chain(write, ask, schema=MessagesState)


@twin(input=HELLO)
def a_model_in_a_node() -> Any:
    model = scripted("I am here")

    async def call(state: Any) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    return chain(call, schema=MessagesState)


@twin(input=HELLO)
def a_model_in_a_synchronous_node() -> Any:
    model = scripted("I am here too")

    def call(state: Any) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    return chain(call, schema=MessagesState)


@twin(input=HELLO)
def a_model_that_streams_in_a_node() -> Any:
    model = scripted("word by word")

    async def call(state: Any) -> dict[str, Any]:
        text = ""
        async for chunk in model.astream(state["messages"]):
            text += str(chunk.content)
        return {"messages": [AIMessage(text, id="whole")]}

    return chain(call, schema=MessagesState)


@twin(input=HELLO)
def a_fake_model_with_a_list() -> Any:
    model = FakeListChatModel(responses=["from the list"])

    async def call(state: Any) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    return chain(call, schema=MessagesState)


@twin(input=HELLO, once=True)
def a_generic_fake_model() -> Any:
    model = GenericFakeChatModel(messages=iter([AIMessage("one two three", id="g")] * 9))

    async def call(state: Any) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    return chain(call, schema=MessagesState)


@twin(input=HELLO)
def a_message_pushed_by_a_node() -> Any:
    def node(state: Any) -> dict[str, Any]:
        push_message(AIMessage("pushed", id="p"))
        return {}

    return chain(node, schema=MessagesState)


@twin(input=HELLO)
def trimmed_messages() -> Any:
    def trim(state: Any) -> dict[str, Any]:
        kept = trim_messages(state["messages"], max_tokens=2, token_counter=len, strategy="last")
        return {"messages": [AIMessage(f"kept {len(kept)}", id="kept")]}

    return chain(replies("one"), replies("two"), trim, schema=MessagesState)


class TwoTalks(TypedDict, total=False):
    public: Annotated[list[AnyMessage], add_messages]
    inner: Annotated[list[AnyMessage], add_messages]


@twin(input={"public": [{"role": "user", "content": "q", "id": "q"}]})
def two_lists_of_messages() -> Any:
    graph = StateGraph(TwoTalks)
    graph.add_node("think", lambda state: {"inner": [AIMessage("hm", id="hm")]})
    graph.add_node("say", lambda state: {"public": [AIMessage("a", id="a"), *state["inner"]]})
    graph.add_edge(START, "think")
    graph.add_edge("think", "say")
    return graph
