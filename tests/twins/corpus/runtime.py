"""What a run gives to nodes: context, config, store, cache, stream writer, execution info."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.cache.memory import InMemoryCache
from langgraph.config import get_config, get_store, get_stream_writer
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime, get_runtime
from langgraph.store.memory import InMemoryStore
from langgraph.types import CachePolicy, StreamWriter
from pydantic import BaseModel
from typing_extensions import TypedDict

from tests.twins.nodes import Log, adoes, chain, does
from tests.twins.twin import Again, twin
from tests.twins.witness import asaw, saw


@dataclass
class User:
    name: str
    level: int = 1


class Tenant(BaseModel):
    name: str
    limit: int = 3


class Facts(TypedDict):
    name: str


def who(state: Any, runtime: Runtime[Any]) -> dict[str, Any]:
    saw("who")
    context = runtime.context
    name = context["name"] if isinstance(context, dict) else context.name
    return {"log": [f"{type(context).__name__} {name}"]}


@twin(context={"name": "Ada"})
def a_context_that_is_a_dataclass() -> Any:
    return chain(who, who, context_schema=User)


@twin(context={"name": "Ada"})
def a_context_that_is_a_pydantic_model() -> Any:
    return chain(who, context_schema=Tenant)


@twin(context={"name": "Ada"})
def a_context_that_is_a_typed_dict() -> Any:
    return chain(who, context_schema=Facts)


@twin(context={"name": "Ada"})
def a_context_in_a_graph_inside() -> Any:
    inside = chain(who, context_schema=User).compile()
    return chain(does("a"), ("inside", inside), context_schema=User)


@twin(context={"name": "Ada"})
def a_context_by_get_runtime() -> Any:
    def node(state: Any) -> dict[str, Any]:
        return {"text": get_runtime(User).context.name}

    return chain(node, context_schema=User)


@twin()
def no_context_at_all() -> Any:
    def node(state: Any, runtime: Runtime[Any]) -> dict[str, Any]:
        return {"text": str(runtime.context)}

    return chain(node)


@twin(config={"configurable": {"colour": "red"}})
def a_configurable_value() -> Any:
    def node(state: Any, config: RunnableConfig) -> dict[str, Any]:
        return {"text": config["configurable"]["colour"]}

    return chain(node)


@twin(config={"tags": ["x"], "metadata": {"who": "me"}})
def tags_and_metadata() -> Any:
    def node(state: Any, config: RunnableConfig) -> dict[str, Any]:
        tags = [tag for tag in config.get("tags") or [] if ":" not in tag]
        return {"text": f"{tags} {config['metadata']['who']}"}

    return chain(node)


@twin(config={"configurable": {"colour": "red"}})
def a_configurable_value_in_a_graph_inside() -> Any:
    async def node(state: Any) -> dict[str, Any]:
        await asaw("node")
        return {"log": [get_config()["configurable"]["colour"]]}

    return chain(does("a"), ("inside", chain(node).compile()))


@twin()
def a_store_is_written_and_read() -> Any:
    async def put(state: Any, runtime: Runtime[Any]) -> dict[str, Any]:
        assert runtime.store is not None
        await runtime.store.aput(("notes",), "one", {"text": "kept"}, index=False)
        return {"log": ["put"]}

    async def get(state: Any, runtime: Runtime[Any]) -> dict[str, Any]:
        assert runtime.store is not None
        found = await runtime.store.aget(("notes",), "one")
        assert found is not None
        return {"log": [found.value["text"], str(await runtime.store.aget(("notes",), "two"))]}

    return chain(put, get)


@twin()
def a_store_in_a_synchronous_node() -> Any:
    def put(state: Any) -> dict[str, Any]:
        get_store().put(("sync",), "k", {"n": 1})
        return {}

    def get(state: Any) -> dict[str, Any]:
        items = get_store().search(("sync",))
        return {"log": [f"{item.key} {item.value}" for item in items]}

    return chain(put, get)


@twin(once=True)
def a_graph_with_a_store_of_its_own() -> Any:
    store = InMemoryStore()
    store.put(("given",), "k", {"n": 7})

    def get(state: Any) -> dict[str, Any]:
        found = get_store().get(("given",), "k")
        return {"count": found.value["n"] if found else None}

    return chain(get).compile(store=store)


@twin(once=True, then=(Again({"count": 2}), Again({"count": 3})), input={"count": 2})
def a_node_with_a_cache() -> Any:
    def costly(state: Any) -> dict[str, Any]:
        saw(f"costly {state['count']}")
        return {"total": state["count"] * 10}

    graph = StateGraph(Log)
    graph.add_node("costly", costly, cache_policy=CachePolicy(key_func=lambda s: str(s["count"])))
    graph.add_edge(START, "costly")
    return graph.compile(cache=InMemoryCache())


@twin()
def a_cache_policy_without_a_cache() -> Any:
    graph = chain(does("a"))
    graph.add_node("b", does("b"), cache_policy=CachePolicy())
    graph.add_edge("a", "b")
    return graph


@twin()
def a_stream_writer_as_a_parameter() -> Any:
    def node(state: Any, writer: StreamWriter) -> dict[str, Any]:
        for n in range(3):
            writer({"part": n})
        return {"log": ["wrote"]}

    return chain(node)


@twin()
def a_stream_writer_by_get_stream_writer() -> Any:
    async def node(state: Any) -> dict[str, Any]:
        write = get_stream_writer()
        write("a text")
        write(["a", "list"])
        return {"log": ["wrote"]}

    return chain(adoes("a"), node)


@twin()
def a_stream_writer_in_a_graph_inside() -> Any:
    def node(state: Any, runtime: Runtime[Any]) -> dict[str, Any]:
        runtime.stream_writer({"inside": True})
        return {"log": ["wrote"]}

    return chain(does("a"), ("inside", chain(node).compile()))


@twin()
def execution_info() -> Any:
    def node(state: Any, runtime: Runtime[Any]) -> dict[str, Any]:
        info = runtime.execution_info
        assert info is not None
        assert info.task_id
        return {"log": [f"{info.node_attempt} {bool(info.thread_id)}"]}

    return chain(node)


@twin()
def names_in_the_config_s_metadata() -> Any:
    def node(state: Any, config: RunnableConfig) -> dict[str, Any]:
        metadata = config["metadata"]
        told = (metadata["langgraph_node"], metadata["langgraph_step"])
        return {"log": [f"{told} {metadata['langgraph_triggers']}"]}

    return chain(does("a"), node)


@twin()
def metadata_of_a_node() -> Any:
    def node(state: Any, config: RunnableConfig) -> dict[str, Any]:
        return {"text": str(config["metadata"].get("cost"))}

    graph = StateGraph(Log)
    graph.add_node("a", node, metadata={"cost": 3})
    graph.add_edge(START, "a")
    return graph
