"""Values come back from their bytes as they went in, or are refused when they are written."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ormsgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Command, Interrupt, Overwrite, Send
from pydantic import BaseModel, SecretStr

from tests.support.state_values import VALUES, Color, Frozen, Plan, Point, Text, told
from ucop.engine.errors import Unstorable, WorkflowChanged
from ucop.engine.values.serializer import StateSerializer
from ucop.engine.values.state_types import StateTypes, graph_types, is_own


def serializer(*patterns: str) -> StateSerializer:
    return StateSerializer(StateTypes(patterns=patterns))


def returned(value: Any) -> Any:
    serde = serializer()
    return serde.loads_typed(serde.dumps_typed(value))


@pytest.mark.parametrize("name", VALUES)
def test_a_value_comes_back_as_it_went_in(name: str) -> None:
    value = VALUES[name]
    assert told(returned(value)) == told(value)
    assert told(returned({"inside": [value]})) == told({"inside": [value]})
    assert told(returned(Frozen(value))) == told(Frozen(value))


@pytest.mark.parametrize(
    "value",
    [
        Send("node", Plan(title="a")),
        Command(update={"a": Point(1)}, goto=[Send("b", (1,))], resume=Color.RED),
        Interrupt(value={"ask": Point(1)}, id="x"),
        Overwrite([Point(1)]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_langgraphs_own_objects_keep_what_they_carry(value: Any) -> None:
    assert returned(value) == value
    assert repr(returned(value)) == repr(value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
    max_leaves=20,
)


@given(JSON)
def test_any_json_and_tuples_come_back(value: Any) -> None:
    assert told(returned(value)) == told(value)


@given(JSON)
def test_langgraphs_serializer_reads_what_it_would_have_read(value: Any) -> None:
    """Tools that know nothing of ucop: a tuple is a list to them."""
    theirs = JsonPlusSerializer(pickle_fallback=False, allowed_msgpack_modules=None)
    read = theirs.loads_typed(serializer().dumps_typed(value))
    assert repr(read) == repr(_listed(value))


def _listed(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_listed(each) for each in value]
    if isinstance(value, dict):
        return {key: _listed(each) for key, each in value.items()}
    return value


class Plainly:
    """No data."""


class Odd(BaseModel):
    secret: SecretStr


def cyclic() -> list[Any]:
    made: list[Any] = []
    made.append(made)
    return made


REFUSED: dict[str, tuple[Any, str]] = {
    "object": (object(), "object"),
    "function": (lambda: 1, "function"),
    "class": (Plan, "pydantic._internal._model_construction.ModelMetaclass"),
    "integer": (2**64, "int"),
    "small integer": (-(2**63) - 1, "int"),
    "surrogate": ("\ud800", "str"),
    "surrogate in a key": ({"\ud800": 1}, "str"),
    "cycle": (cyclic(), "list"),
    "no data": (Plainly(), f"{__name__}.Plainly"),
    "namespace": (SimpleNamespace(a=1), "types.SimpleNamespace"),
    "secret": (Odd(secret=SecretStr("s")), "pydantic.types.SecretStr"),
    "memoryview": (memoryview(b"a"), "memoryview"),
    "defaultdict": (defaultdict(lambda: 1), "collections.defaultdict"),
    "generator": ((n for n in [1]), "generator"),
    "ormsgpack": (Path, "type"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_not_come_back_is_refused_when_it_is_written(name: str) -> None:
    value, kind = REFUSED[name]
    with pytest.raises(Unstorable) as refused:
        serializer().dumps_typed([value])
    assert refused.value.kind == kind
    for whole in (value, {"a": [value]}, Frozen(value)):
        with pytest.raises(Unstorable):
            serializer().dumps_typed(whole)


def test_a_class_of_a_library_is_refused_with_the_line_that_allows_it() -> None:
    value = json.JSONDecodeError("a", "b", 1)
    with pytest.raises(Unstorable, match=r'types = \["json.decoder:JSONDecodeError"\]'):
        serializer().dumps_typed(value)
    assert serializer("json.decoder:JSONDecodeError").dumps_typed([ValueError()])


@pytest.mark.parametrize(
    ("pattern", "allowed"),
    [
        ("json.decoder:JSONDecodeError", True),
        ("json.decoder", True),
        ("json.*", True),
        ("json.decoder:*", True),
        ("json.decoder:JSONDecoder", False),
        ("json", False),
        ("jsons.*", False),
    ],
)
def test_a_setting_allows_classes_of_other_packages(pattern: str, allowed: bool) -> None:
    types = StateTypes(patterns=(pattern,))
    name = ("json.decoder", "JSONDecodeError")
    if allowed:
        assert types.name_of(json.JSONDecodeError) == name
        assert types.find(name) is json.JSONDecodeError
        return
    with pytest.raises(Unstorable, match=r"add to ucop\.toml"):
        types.name_of(json.JSONDecodeError)
    with pytest.raises(WorkflowChanged, match=r"add to ucop\.toml"):
        types.find(name)


def test_a_class_inside_a_function_is_refused_unless_the_graphs_schema_names_it() -> None:
    from langgraph.graph import StateGraph
    from typing_extensions import TypedDict

    @dataclasses.dataclass
    class Local:
        a: int

    with pytest.raises(Unstorable, match="inside a function"):
        serializer().dumps_typed(Local(1))
    schema: Any = TypedDict("schema", {"local": Local})
    graph = StateGraph(schema)
    graph.add_node("node", lambda state: state)
    graph.add_edge("__start__", "node")
    serde = serializer().with_graph(graph_types(graph.compile()))
    assert serde.loads_typed(serde.dumps_typed(Local(1))) == Local(1)


def test_a_class_that_is_gone_is_told_and_not_left_out() -> None:
    serde = serializer()
    kind, data = serde.dumps_typed(Frozen(1))
    with pytest.raises(WorkflowChanged, match="there is no such class any more"):
        serializer().loads_typed((kind, data.replace(b"Frozen", b"Thawed")))


def test_a_field_that_is_new_in_a_class_has_its_default() -> None:
    old = ormsgpack.packb(
        ["tests.support.state_values", "Wider", {"text": "a"}, "model_validate_json", {}]
    )
    made = serializer().loads_typed(("msgpack", ormsgpack.packb(ormsgpack.Ext(5, old))))
    assert made.more == 0


CALLS = [
    (0, ["os", "getenv", "HOME"]),
    (0, ["builtins", "eval", "1 + 1"]),
    (1, ["os", "system", ["touch /tmp/ucop-was-called"]]),
    (1, ["subprocess", "Popen", [["true"]]]),
    (2, ["builtins", "open", {"file": "/etc/passwd"}]),
    (3, ["builtins", "str", "a", "upper"]),
    (3, ["tests.support.state_values", "Plan", "{}", "model_validate_json"]),
    (5, ["subprocess", "Popen", {"args": ["true"]}, "model_validate_json"]),
    (1, ["tests.support.state_values", "plan", []]),
    (0, ["test_serializer", "serializer", "x"]),
]


@pytest.mark.parametrize(("code", "parts"), CALLS)
def test_nothing_that_stands_in_a_row_is_called(code: int, parts: Any) -> None:
    """A node may return msgpack's own object for one of another type."""
    crafted = ormsgpack.Ext(code, ormsgpack.packb(parts))
    kind, data = serializer().dumps_typed({"a": crafted})
    try:
        read = serializer().loads_typed((kind, data))["a"]
    except WorkflowChanged:
        return
    assert read == parts[2]


def test_bytes_that_are_numpys_are_its_arrays_again() -> None:
    import numpy

    for array in (numpy.arange(6.0).reshape(2, 3), numpy.asfortranarray(numpy.ones((2, 3)))):
        back = returned(array)
        assert (back == array).all()
        assert (back.dtype, back.flags.writeable) == (array.dtype, True)
    with pytest.raises(Unstorable, match="objects"):
        returned(numpy.array([object()]))
    with pytest.raises(Unstorable, match="item"):
        returned(numpy.float64(1))


def test_a_text_of_langchains_own_class_is_a_text() -> None:
    from langchain_core.messages import AIMessage

    assert told(returned(AIMessage("hi").text)) == told("hi")
    assert told(returned(Text("hi"))) == told(Text("hi"))


@pytest.mark.parametrize(
    ("module", "own"),
    [(__name__, True), ("__main__", True), ("json", False), ("ormsgpack", False), ("ucop", False)],
)
def test_a_projects_own_modules_are_those_that_nobody_installed(module: str, own: bool) -> None:
    assert is_own(module) is own


def test_a_module_of_the_projects_folder_is_its_own_before_it_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "acme_unseen.py").write_text("raise SystemExit")
    monkeypatch.syspath_prepend(tmp_path)
    assert is_own("acme_unseen")
    assert not is_own("acme_nowhere")
