"""The JSON Schema of workflow files: it knows the language, and refuses only what is wrong."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from jsonschema import Draft202012Validator

from tests.support.broken import marked
from tests.support.broken_definitions import BROKEN
from tests.support.paths import DOCS
from ucop.agents.errors import InvalidDefinition
from ucop.agents.spec.spec import AgentSpec
from ucop.agents.text.keywords import KEYWORDS
from ucop.agents.text.places import Places
from ucop.agents.text.source import read_yaml
from ucop.console.cli.starter import FILES
from ucop.graphs.language import json_schema
from ucop.graphs.language.forms import (
    TEXT,
    Key,
    Reader,
    count,
    keys_of,
    keys_schema,
    read_keys,
    section,
)
from ucop.graphs.limits import LIMITS
from ucop.graphs.workflows import catalog

SCHEMA = json_schema.workflow_schema()
VALIDATOR = Draft202012Validator(SCHEMA)


def properties(schema: dict[str, Any], way: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every property that the schema declares, and where."""
    for name, inner in schema.get("$defs", {}).items():
        yield from properties(inner, f"{way}/$defs/{name}")
    for name, inner in schema.get("properties", {}).items():
        yield f"{way}/{name}", inner
        yield from properties(inner, f"{way}/{name}")
    for inner in schema.get("anyOf", ()):
        yield from properties(inner, way)


def test_given_any_key_then_an_editor_is_told_what_it_means() -> None:
    found = dict(properties(SCHEMA))
    assert "/$defs/timeout/idle" in found
    assert "/$defs/defaults/on_error" in found
    for way, schema in found.items():
        named = SCHEMA["$defs"].get(schema.get("$ref", "").removeprefix("#/$defs/"), {})
        assert schema.get("description") or named.get("description"), way


def workflows() -> Iterator[tuple[str, str]]:
    """Every workflow that comes with ucop, or that its pages show."""
    for path in sorted(catalog.LIBRARY.glob("*.yaml")):
        yield path.name, path.read_text(encoding="utf-8")
    for page in sorted(DOCS.rglob("*.md")):
        for number, block in enumerate(_yaml_blocks(page.read_text(encoding="utf-8")), start=1):
            if re.search(r"^name:", block, flags=re.M) and re.search("^nodes:", block, flags=re.M):
                yield f"{page.name}, {number}", block
    for name, text in FILES.items():
        if name.startswith("workflows/") and name.endswith(".yaml"):
            yield name, text


def _yaml_blocks(text: str) -> list[str]:
    return re.findall(r"^```yaml\n(.*?)^```", text, flags=re.M | re.S)


WORKFLOWS = dict(workflows())


def refusals(text: str) -> list[str]:
    data = read_yaml(text, "flow.yaml").data
    return [f"{list(e.absolute_path)}: {e.message}" for e in VALIDATOR.iter_errors(data)]


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_workflow_of_ucop_and_its_pages_fits(name: str) -> None:
    assert refusals(WORKFLOWS[name]) == []


def test_pages_show_workflows_and_the_library_has_some() -> None:
    assert sum(name.startswith("workflows.md") for name in WORKFLOWS) >= 4
    assert "blog.yaml" in WORKFLOWS


SEEN_BY_A_SCHEMA = {
    "a list instead of a workflow",
    "no name",
    "a name with a space",
    "nodes without any",
    "an unknown key at the top",
    "an unknown key of a node",
    "a node that is a text",
    "a node without an agent",
    "with that is a list",
    "a node named END",
    "a node with an underscore",
    "a node with a question mark",
    "a value named like a word of CEL",
    "a value named errors",
    "a value with a hyphen",
    "an unknown type",
    "a type that is a number",
    "limit without each",
    "as without each",
    "a limit of none",
    "a limit that is a text",
    "a timeout without a number",
    "a timeout of nothing",
    "an unknown key of retry",
    "an unknown policy",
    "each without an expression",
    "edges that are null",
    "edges that are a mapping",
    "an edge that is a number",
    "an edge to nowhere",
    "a choice without a node",
    "a choice without from",
    "a choice of nothing",
    "an unknown key of an entry",
    "at_most below one",
    "a condition in braces",
    "a broken agent of the file's own",
    "a cache for no time",
    "a cache without its time",
    "an unknown key of cache",
    "limits that are a number",
    "an unknown limit",
    "limits that nothing can keep",
    "limits of other kinds",
}

OF_MEANING = {
    "unknown-agent",
    "missing-input",
    "unknown-input",
    "wrong-input",
    "wrong-input-type",
    "unknown-reference",
    "unknown-field",
    "surely-null",
    "unknown-node",
    "no-default",
    "never-taken",
    "unbounded-loop",
    "unreachable",
    "no-end",
    "no-start",
}


@pytest.mark.parametrize("name", sorted(SEEN_BY_A_SCHEMA))
def test_mistakes_of_form_are_refused(name: str) -> None:
    assert refusals(marked(BROKEN[name][1])[0])


@pytest.mark.parametrize(
    "name", [name for name, (codes, _) in BROKEN.items() if set(codes) <= OF_MEANING]
)
def test_mistakes_of_meaning_are_not_the_schemas_to_find(name: str) -> None:
    try:
        assert refusals(marked(BROKEN[name][1])[0]) == []
    except InvalidDefinition:
        pytest.fail("not YAML")


def test_the_schema_has_every_key_of_the_language_and_no_other() -> None:
    def keys(at: dict[str, Any]) -> set[str]:
        return set(at["properties"])

    defs = SCHEMA["$defs"]
    assert keys(SCHEMA) == {
        *("name", "kind", "description", "input", "state", "nodes", "edges", "output"),
        *("agents", "defaults", "limits", "mesh", "with"),
    }
    assert keys(defs["node"]) == {
        *("agent", "workflow", "mesh", "ask", "answer", "within", "default", "with", "writes"),
        *("each", "as", "limit", "retry", "timeout", "cache", "on_error"),
    }
    assert keys(defs["mesh"]) == {"entry", "agents", "max_hops", "retry", "timeout"}
    assert keys(defs["edge"]["anyOf"][1]) == {"from", "to"}
    assert keys(defs["entry"]["anyOf"][1]) == {"node", "when", "at_most"}
    assert keys(defs["retry"]) == {"attempts", "delay", "longest"}
    assert keys(defs["limits"]) == set(LIMITS)
    assert keys(defs["cache"]) == {"ttl"}
    assert keys(defs["timeout"]) == {"whole", "idle"}
    assert keys(defs["defaults"]) == {"retry", "timeout", "cache", "on_error"}
    assert keys(defs["agent"]) == set(AgentSpec.model_fields)
    assert keys(defs["schema"]) == set(KEYWORDS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Paint:
    """What a part of the language may look like."""

    colour: Annotated[str, Key(TEXT, name="color", examples=["red"], needed="paint needs 'color'")]
    """What it looks
    like."""
    coats: Annotated[int, Key(count(3))] = 1
    """How often it is painted."""


def test_given_one_new_field_then_the_key_is_read_kept_and_described() -> None:
    form, reader = section(Paint, "paint"), Reader(Places())
    assert form.read(reader, {"color": "red", "coats": 2}, ("paint",)) == Paint(
        colour="red", coats=2
    )
    assert reader.findings == []
    assert form.write(Paint(colour="red", coats=2)) == {"color": "red", "coats": 2}
    assert form.write(Paint(colour="red")) == {"color": "red"}
    assert keys_schema(keys_of(Paint)) == {
        "type": "object",
        "properties": {
            "color": {"type": "string", "description": "What it looks like.", "examples": ["red"]},
            "coats": {
                "type": "integer",
                "description": "How often it is painted.",
                "default": 1,
                "minimum": 1,
                "maximum": 3,
            },
        },
        "required": ["color"],
        "additionalProperties": False,
    }
    read_keys(reader, {"colr": "red", "coats": 4}, ("paint",), keys_of(Paint))
    assert [(finding.code, finding.message) for finding in reader.findings] == [
        ("unknown-key", "there is no key 'colr' here"),
        ("missing-key", "paint needs 'color'"),
        ("bad-value", "'coats' must be at most 3"),
    ]


def undescribed(at: Any, path: str = "") -> Iterator[str]:
    """Keys that an editor could show without a word on them."""
    if isinstance(at, list):
        for number, one in enumerate(at):
            yield from undescribed(one, f"{path}/{number}")
    if not isinstance(at, dict):
        return
    for name, field in at.get("properties", {}).items():
        target = field.get("$ref", "").rpartition("/")[2]
        if "description" not in field and "description" not in SCHEMA["$defs"].get(target, {}):
            yield f"{path}/{name}"
    for key, value in at.items():
        if key in ("properties", "$defs"):
            for name, field in value.items():
                yield from undescribed(field, f"{path}/{key}/{name}")
        elif key not in ("examples", "default", "enum"):
            yield from undescribed(value, f"{path}/{key}")


def test_every_key_is_described() -> None:
    assert list(undescribed(SCHEMA)) == []


def test_examples_and_defaults_fit_their_own_schema() -> None:
    checked = 0
    for part in (SCHEMA, *SCHEMA["$defs"].values()):
        fields = part.get("properties", {})
        for choice in part.get("anyOf", []):
            fields = {**fields, **choice.get("properties", {})}
        for name, field in fields.items():
            whole = Draft202012Validator({**field, "$defs": SCHEMA["$defs"]})
            for value in [
                *field.get("examples", []),
                *([field["default"]] if "default" in field else []),
            ]:
                assert not list(whole.iter_errors(value)), (name, value)
                checked += 1
    assert checked > 20
