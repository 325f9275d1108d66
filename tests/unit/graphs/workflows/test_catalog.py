"""Finding workflows by name and file, and Python graphs as workflows."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from pydantic import BaseModel
from typing_extensions import TypedDict

import ucop.graphs.workflows.catalog as catalog_module
from ucop.agents.errors import InvalidDefinition
from ucop.agents.spec.registry import Registry
from ucop.agents.text.plain import plain
from ucop.graphs.errors import InvalidInput, UnknownWorkflow, WorkflowChanged
from ucop.graphs.topology.wiring import Standing
from ucop.graphs.workflow import Workflow
from ucop.graphs.workflows.catalog import Catalog, split_pattern
from ucop.graphs.workflows.python_workflow import PythonWorkflow
from ucop.graphs.workflows.stored import restore

YAML = "name: {name}\ndescription: A test.\nnodes:\n  a: {{agent: hello}}\nagents:\n  hello: {{prompt: Hi}}\n"
PYTHON = """
import pathlib
pathlib.Path(__file__).with_name("imported").touch()
from typing_extensions import TypedDict
from langgraph.graph import START, StateGraph

class State(TypedDict, total=False):
    n: int

def build():
    made = StateGraph(State)
    made.add_node("add", lambda state: {"n": state["n"] + 1})
    made.add_edge(START, "add")
    return made

async def later():
    return build().compile()

graph = build()
numbers = 3
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "one.yaml").write_text(YAML.format(name="one"))
    (tmp_path / "flows" / "two.yaml").write_text(YAML.format(name="second"))
    (tmp_path / "sums.py").write_text(PYTHON)
    before = set(sys.path)
    yield tmp_path
    sys.path[:] = [entry for entry in sys.path if entry in before]
    sys.modules.pop("sums", None)


def catalog(root: Path, *patterns: str, bundled: bool = False) -> Catalog:
    return Catalog(root, patterns, Registry.of(), bundled=bundled)


def test_given_a_project_then_all_its_workflows_are_listed_without_importing_any(
    project: Path,
) -> None:
    found = catalog(project, "flows/*.yaml", "sums.py:graph", "adder=sums.py:later")
    assert [(x.name, x.kind, x.origin) for x in found.names()] == [
        ("adder", "python", "sums.py:later"),
        ("one", "yaml", "flows/one.yaml"),
        ("second", "yaml", "flows/two.yaml"),
        ("sums", "python", "sums.py:graph"),
    ]
    assert found.names()[1].description == "A test."
    assert not (project / "imported").exists()


def test_given_no_project_then_the_bundled_workflows_are_there() -> None:
    assert "blog" in [listing.name for listing in Catalog(None).names()]


def test_given_a_project_workflow_of_a_bundled_name_then_it_wins(project: Path) -> None:
    (project / "flows" / "two.yaml").write_text(YAML.format(name="blog"))
    found = catalog(project, "flows/*.yaml", bundled=True)
    assert found.get("blog").origin == "flows/two.yaml"
    assert [x.name for x in found.names()].count("blog") == 1


def test_given_two_workflows_of_one_name_then_both_files_are_told(project: Path) -> None:
    (project / "flows" / "two.yaml").write_text(YAML.format(name="one"))
    found = catalog(project, "flows/*.yaml")
    assert [x.name for x in found.names()] == ["one", "one"]
    with pytest.raises(InvalidDefinition, match=r"in flows/one\.yaml and flows/two\.yaml"):
        found.get("one")


def test_given_a_wrong_name_then_the_nearest_is_told(project: Path) -> None:
    with pytest.raises(UnknownWorkflow, match="did you mean 'second'"):
        catalog(project, "flows/*.yaml").get("secnd")


def test_given_a_file_that_changed_then_it_is_read_again(project: Path) -> None:
    found = catalog(project, "flows/*.yaml")
    first = found.get("one")
    assert found.get("one") is first
    (project / "flows" / "one.yaml").write_text(YAML.format(name="one").replace("Hi", "Hello"))
    assert found.get("one").fingerprint != first.fingerprint


def test_given_a_broken_file_then_the_others_are_listed_and_only_it_fails(project: Path) -> None:
    (project / "flows" / "two.yaml").write_text("nodes: [")
    found = catalog(project, "flows/*.yaml")
    assert [x.name for x in found.names()] == ["one", "two"]
    with pytest.raises(InvalidDefinition, match=r"flows/two\.yaml:1:9"):
        found.get("two")


def test_given_a_path_then_the_file_is_opened_and_find_takes_names_only(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = catalog(project)
    assert found.get("flows/one.yaml").name == "one"
    assert found.get(project / "flows" / "two.yaml").name == "second"
    assert found.get("sums.py:graph").name == "sums"
    for path in ("flows/one.yaml", "sums.py:graph", str(project / "flows" / "one.yaml")):
        with pytest.raises(UnknownWorkflow):
            found.find(path)
    with pytest.raises(UnknownWorkflow, match="there is no file"):
        found.get("flows/three.yaml")


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("sums.py:grpah", "there is no 'grpah' (did you mean 'graph'?)"),
        ("sums.py:numbers", "is of type int, not a graph"),
        ("none.py:graph", "there is no such file"),
    ],
)
def test_given_a_python_pattern_that_leads_nowhere_then_it_is_told(
    project: Path, pattern: str, told: str
) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        catalog(project, f"x={pattern}").get("x").graph()
    assert told in str(caught.value)


def test_given_a_pattern_then_it_names_the_graph_by_attribute_or_module() -> None:
    assert split_pattern("flows.py:graph") == ("flows", "flows.py:graph")
    assert split_pattern("pkg/flows.py:report") == ("report", "pkg/flows.py:report")
    assert split_pattern("pkg.flows:app") == ("flows", "pkg.flows:app")
    assert split_pattern("mine=./src/agent.py:graph") == ("mine", "./src/agent.py:graph")
    with pytest.raises(InvalidDefinition, match="names no workflow"):
        split_pattern("flows.py")


def test_given_a_listing_then_nothing_heavy_is_imported(project: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from ucop.graphs.workflows.catalog import Catalog\n"
        "assert not {'langgraph', 'langchain_core', 'jsonschema', 'cel', 'ruamel'} & set(sys.modules)\n"
        f"Catalog(Path({str(project)!r}), ['flows/*.yaml', 'sums.py:graph']).names()\n"
        "print(sorted({'langgraph', 'langchain_core', 'jsonschema', 'cel', 'pydantic'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == ("[]\n", "")


# ---- Python graphs ----


class Numbers(TypedDict, total=False):
    n: int


def numbers(*nodes: str) -> StateGraph[Any, Any, Any, Any]:
    graph: Any = StateGraph(Numbers)
    for name in nodes:
        graph.add_node(name, lambda state: {"n": state["n"] + 1})
    for source, target in zip((START, *nodes), (*nodes, END), strict=True):
        graph.add_edge(source, target)
    return graph  # type: ignore[no-any-return]


async def made_later() -> Any:
    return numbers("a", "b").compile(checkpointer=InMemorySaver())


@pytest.mark.parametrize(
    "source",
    [
        numbers("a", "b"),
        numbers("a", "b").compile(),
        numbers("a", "b").compile(checkpointer=InMemorySaver()),
        lambda: numbers("a", "b"),
        made_later,
    ],
    ids=["StateGraph", "compiled", "with a checkpointer", "factory", "async factory"],
)
async def test_given_a_graph_in_any_form_then_it_runs_unchanged(source: Any) -> None:
    workflow = Catalog(None, (), Registry.of()).add("sums", source)
    assert workflow.kind == "python"
    assert workflow.graph() is workflow.graph()
    assert workflow.graph().checkpointer is None
    assert workflow.shown_nodes() == ["a", "b"]
    assert workflow.needs == ("graph:sums",)
    assert workflow.input_schema is not None
    assert workflow.input_schema["properties"]["n"]["type"] == "integer"
    values = await workflow.graph().ainvoke(workflow.start(workflow.accept({"n": 1})))
    assert workflow.result(values) == {"n": 3}


def test_given_a_compiled_graph_then_its_own_checkpointer_is_left_alone() -> None:
    compiled = numbers("a").compile(checkpointer=InMemorySaver())
    before = compiled.checkpointer
    PythonWorkflow("sums", compiled).graph()
    assert compiled.checkpointer is before


async def test_given_a_graph_of_messages_then_what_LangGraph_takes_is_accepted() -> None:
    graph: Any = StateGraph(MessagesState)
    graph.add_node("say", lambda state: {"messages": [("ai", "hello")]})
    graph.add_edge(START, "say")
    workflow = PythonWorkflow("chat", graph)
    data = workflow.accept({"messages": [["user", "hi"], {"role": "user", "content": "you"}]})
    values = await workflow.graph().ainvoke(workflow.start(data))
    contents = [message["content"] for message in workflow.result(values)["messages"]]
    assert contents == ["hi", "you", "hello"]


def test_given_input_that_is_no_JSON_object_then_it_is_refused() -> None:
    workflow = PythonWorkflow("sums", numbers("a"))
    unfit: tuple[Any, ...] = ([], {"n": 2**70}, {"n": float("nan")})
    for data in unfit:
        with pytest.raises(InvalidInput):
            workflow.accept(data)


def test_given_a_graph_that_lost_a_node_then_a_job_that_was_to_run_it_does_not_go_on() -> None:
    def restored(*nodes: str) -> Workflow:
        catalog = Catalog(None, (), Registry.of())
        catalog.add("sums", numbers(*nodes))
        return restore(kept, catalog=catalog, registry=Registry.of())

    kept = PythonWorkflow("sums", numbers("a", "b")).stored
    due = Standing(due=frozenset("a"), done=frozenset(), scheduled=frozenset())
    assert not restored("a", "b").changed
    assert restored("a", "c").changed
    with pytest.raises(WorkflowChanged, match="no node 'b' any more"):
        restored("a", "c").refuse_to_skip(due)
    restored("a", "x", "b").refuse_to_skip(due)


def test_given_graphs_then_their_fingerprints_tell_their_shapes_apart() -> None:
    def shape(*nodes: str) -> str:
        return PythonWorkflow("sums", numbers(*nodes)).fingerprint

    assert shape("a", "b") == shape("a", "b")
    assert len({shape("a", "b"), shape("b", "a"), shape("a"), shape("a", "b", "c")}) == 4


def test_given_values_of_every_kind_then_a_result_is_JSON() -> None:
    class Model(BaseModel):
        x: int

    @dataclass
    class Data:
        y: Any

    found = plain(
        {
            "model": Model(x=1),
            "data": Data(y=datetime(2026, 1, 2)),
            "set": {1},
            "bytes": b"a",
            3: Path("p"),
            "message": HumanMessage("hi"),
        }
    )
    assert found["model"] == {"x": 1}
    assert found["data"] == {"y": "2026-01-02T00:00:00"}
    assert (found["set"], found["bytes"], found["3"]) == ([1], "YQ==", "p")
    assert found["message"]["content"] == "hi"


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import sys; sys.exit('no licence')", "SystemExit: no licence"),
        ("raise type('PanicException', (BaseException,), {})('lost')", "PanicException: lost"),
        ("import no_such_library", "No module named 'no_such_library'"),
    ],
)
def test_a_package_that_ends_the_process_takes_nothing_else_down(
    project: Path, monkeypatch: pytest.MonkeyPatch, code: str, why: str
) -> None:
    name = f"ends_{abs(hash(code))}"
    (project / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(project)
    points = (EntryPoint("ends", f"{name}:graph", "ucop.workflows"),)
    monkeypatch.setattr(catalog_module, "_entry_points", lambda: points)
    catalog = Catalog(project, ["flows/*.yaml"])
    assert catalog.find("one").name == "one"
    with pytest.raises(InvalidDefinition, match=f"entry point 'ends': .*{why}"):
        catalog.find("ends")
    (project / "mine.py").write_text(code)
    with pytest.raises(InvalidDefinition, match=f"importing mine failed: .*{why}"):
        Catalog(project, ["mine.py:graph"]).find("mine")
