"""Agents from YAML and from Python functions: what they are, and every mistake in them."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from ucop.agents import Agent, AgentContext, AgentSpec, InvalidDefinition, agent
from ucop.agents.spec.agent import spec_agent
from ucop.agents.spec.function import agent_of
from ucop.agents.spec.spec import filled_schema, without_references
from ucop.agents.spec.spec_file import read_agent, read_agent_file, read_agents
from ucop.agents.text.source import read_yaml
from ucop.agents.text.template import TemplateError, path_lookup

RESEARCHER = """\
name: researcher
description: Choose a sentence.
capabilities: [research]
model: fast
system: Copy one sentence about ${topic}.
prompt: |
  Topic: ${topic}
  Text: ${passage.text}
input:
  topic: string
  passage:
    type: object
    properties: {text: string, sentences: {type: array, items: string}}
    required: [text, sentences]
    additionalProperties: false
output:
  fact: {type: string, enum: "${passage.sentences}"}
examples:
  - input: {topic: tea, passage: {text: Tea is green., sentences: [Tea is green.]}}
    output: {fact: Tea is green.}
options: {temperature: 0, seed: 7, stop: "###"}
repairs: 1
repair: reseed
"""


def made(text: str) -> Agent:
    found, findings = read_agent(read_yaml(text, "a.yaml"), ())
    assert not findings
    assert found is not None
    return found


def mistakes(text: str) -> list[str]:
    """`line:column message` of everything that is wrong with a spec."""
    found, findings = read_agent(read_yaml(text, "a.yaml"), ())
    assert found is None
    return [f"{f.position.line}:{f.position.column} {f.message}" for f in findings if f.position]


def only(function: Any) -> Agent:
    found = agent_of(function)
    assert found is not None
    return found


# YAML


def test_a_spec_is_read_whole() -> None:
    one = made(RESEARCHER)
    assert (one.name, one.capabilities, one.origin) == ("researcher", ("research",), "a.yaml")
    assert one.spec is not None
    assert one.spec.options.given() == {"temperature": 0, "seed": 7, "stop": ["###"]}
    assert one.input_schema["required"] == ["topic", "passage"]
    assert one.spec.repair == "reseed"


def test_an_enum_that_refers_to_an_input_is_open_until_the_call() -> None:
    one = made(RESEARCHER)
    assert one.spec is not None
    assert one.output_schema is not None
    assert one.output_schema["properties"]["fact"] == {"type": "string"}
    filled = filled_schema(
        one.spec.output_schema, path_lookup({"passage": {"sentences": ["a.", "b ${x}."]}})
    )
    assert filled["properties"]["fact"]["enum"] == ["a.", "b ${x}."]


def test_an_enum_without_anything_to_choose_is_an_error() -> None:
    with pytest.raises(TemplateError, match="at least one item"):
        filled_schema({"enum": "${a}"}, path_lookup({"a": []}))


def test_only_keywords_of_the_schema_can_refer_to_inputs() -> None:
    schema = {"properties": {"enum": {"const": "${a}"}}, "default": "${a}", "enum": ["${a}"]}
    assert without_references(schema) == {
        "properties": {"enum": {}},
        "default": "${a}",
        "enum": ["${a}"],
    }


def test_every_mistake_is_told_at_once_with_its_place() -> None:
    text = """\
name: researcher
descripton: x
prompt: "About ${topic} ${passage.txt} ${a + b}"
system: "${"
input:
  topik: string
  passage: {type: object, properties: {text: string}, additionalProperties: false}
output:
  facts: {type: array, items: {enum: "${pasage.x}"}}
options: {temperature: hot, sed: 1}
repair: maybe
"""
    assert mistakes(text) == [
        "2:1 descripton: is not expected; did you mean 'description'?",
        "3:16 prompt: ${topic}: no input named 'topic' is declared; did you mean 'topik'?",
        "3:25 prompt: ${passage.txt}: no field named 'txt' is declared; did you mean 'text'?",
        "3:40 prompt: ${a + b} must be the path of an input, such as name or name.field",
        "4:9 system: this ${ has no closing }; write $${ for the two characters",
        "9:39 enum: ${pasage.x}: no input named 'pasage' is declared; did you mean 'passage'?",
        '10:24 temperature: must be a number or null, not "hot"',
        "10:29 sed: is not expected; did you mean 'seed'?",
        '11:9 repair: must be one of "feedback", "reseed", not "maybe"',
    ]


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("prompt: x\n", "1:1 'name' is missing"),
        ("name: a\n", "1:1 'prompt' is missing"),
        ("name: a b\nprompt: x\n", '1:7 name: "a b" does not match the pattern'),
        ("name: a\nprompt: x\ninput: {t: strin}\n", "3:12 type: 'strin' is not a type"),
        ("name: a\nprompt: x\ninput: {type: string}\n", "3:15 type: an agent's input is always"),
        ("name: a\nprompt: x\noutput: 5\n", "3:9 output: must be fields, a type name or"),
        ("name: a\nprompt: x\noutput: {a: {pattern: '('}}\n", "3:23 pattern: the pattern is not"),
        ("name: a\nprompt: x\noutput: {a: {enum: [], minLength: x}}\n", "3:35 minLength: must be"),
        ("name: a\nprompt: x\nexamples: [{input: {t: 1}, output: y}]\n", "3:21 t: is not expected"),
        (
            "name: a\nprompt: x\noutput: {n: integer}\nexamples: [{input: {}, output: {n: x}}]\n",
            '4:36 n: must be a whole number, not "x"',
        ),
        (
            "name: a\nprompt: x\noutput: {n: {enum: 'a ${b}'}}\ninput: {b: string}\n",
            "3:20 enum: must",
        ),
        ("name: a\nprompt: x\ninput: {b: {enum: '${c}'}}\n", "3:19 enum: must be a list"),
        ("name: a\nprompt: x\nrepairs: 99\n", "3:10 repairs: must be at most 10"),
        ("- a\n", "1:1 must be an object"),
    ],
)
def test_a_mistake_is_told_where_it_stands(text: str, mistake: str) -> None:
    assert any(told.startswith(mistake) for told in mistakes(text)), mistakes(text)


def test_several_agents_stand_under_their_names() -> None:
    text = "x: 1\nagents:\n  a: {prompt: hello}\n  b: {prompt: '${z}'}\n  c: {name: d, prompt: x}\n"
    found, findings = read_agents(read_yaml(text, "flow.yaml"), ("agents",))
    assert list(found) == ["a"]
    assert found["a"].origin == "flow.yaml:3"
    assert [f.position.line for f in findings if f.position] == [4, 5]


def test_a_file_holds_one_agent_or_several(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(RESEARCHER)
    (tmp_path / "two.yaml").write_text("agents: {a: {prompt: x}, b: {prompt: y}}\n")
    (tmp_path / "odd.yaml").write_text("agents: {a: {prompt: x}}\nother: 1\n")
    assert [a.name for a in read_agent_file(tmp_path / "one.yaml")] == ["researcher"]
    assert [a.name for a in read_agent_file(tmp_path / "two.yaml")] == ["a", "b"]
    with pytest.raises(InvalidDefinition, match=r"odd\.yaml:2:1: other: only `agents` stands"):
        read_agent_file(tmp_path / "odd.yaml")


def test_a_spec_survives_being_stored_as_json() -> None:
    one = made(RESEARCHER)
    assert one.spec is not None
    stored = one.spec.model_dump_json(exclude_defaults=True)
    again = spec_agent(AgentSpec.model_validate_json(stored), "stored")
    assert again.fingerprint == one.fingerprint
    assert again.input_schema == one.input_schema


def test_a_fingerprint_changes_with_what_the_agent_does_and_not_with_its_description() -> None:
    one = made(RESEARCHER)
    assert made(RESEARCHER.replace("Choose a", "Pick a")).fingerprint == one.fingerprint
    assert made(RESEARCHER.replace("seed: 7", "seed: 8")).fingerprint != one.fingerprint


# Functions


class Point(BaseModel):
    x: int
    y: int = 0


@agent(capabilities=["shift"], category="maths")
def shifter(point: Point, by: Annotated[int, Field(ge=1)] = 1) -> Point:
    """Shift a point
    to the right.

    More words.
    """
    return Point(x=point.x + by, y=point.y)


def test_the_hints_of_a_function_are_its_schemas() -> None:
    one = only(shifter)
    assert (one.name, one.description, one.category) == (
        "shifter",
        "Shift a point to the right.",
        "maths",
    )
    assert one.origin.startswith("test_agent_spec.py:")
    assert one.input_schema["required"] == ["point"]
    assert one.input_schema["additionalProperties"] is False
    assert one.input_schema["properties"]["by"]["default"] == 1
    assert one.input_schema["$defs"]["Point"]["properties"]["x"] == {
        "title": "X",
        "type": "integer",
    }
    assert one.output_schema is not None
    assert set(one.output_schema["properties"]) == {"x", "y"}


def test_a_decorated_function_is_still_the_function() -> None:
    assert shifter(Point(x=1)) == Point(x=2)


def test_the_context_is_no_input_and_its_hint_need_not_be_importable() -> None:
    @agent
    def teller(context: AgentContext, name: str, *, day: datetime.date | None = None) -> str:
        return name

    assert list(only(teller).input_schema["properties"]) == ["name", "day"]
    assert only(teller).input_schema["properties"]["day"]["default"] is None


def test_a_function_takes_other_names_only_with_a_place_for_them() -> None:
    @agent("any-input")
    def anything(**rest: Any) -> int:
        return len(rest)

    assert only(anything).name == "any-input"
    assert only(anything).input_schema["additionalProperties"] is True


def test_a_function_that_cannot_be_an_agent_is_refused_with_its_line() -> None:
    def positional(a: int, /) -> int:
        return a

    def many(*numbers: int) -> int:
        return len(numbers)

    def generator() -> Any:
        yield 1

    for function in (positional, many, generator):
        with pytest.raises(InvalidDefinition, match=r"test_agent_spec\.py:\d+:1: "):
            agent(function)
    with pytest.raises(InvalidDefinition, match="is no name for an agent"):
        agent("two words")(only)
    with pytest.raises(TypeError):
        agent()(len)


def test_a_hint_that_cannot_be_read_is_refused_with_its_line() -> None:
    class Opaque:
        pass

    def opaque(thing: Any) -> int:
        return 1

    opaque.__annotations__["thing"] = Opaque

    def missing(thing: Any) -> int:
        return 1

    missing.__annotations__["thing"] = "Nowhere"
    for function, message in ((opaque, "the type of 'thing'"), (missing, "a type hint")):
        with pytest.raises(InvalidDefinition, match=message):
            _ = only(agent(function)).input_schema
