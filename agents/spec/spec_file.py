"""Agents in YAML: reading them, and every mistake in them with its place.

A file holds one agent, or several under `agents:`; a workflow file may hold its own under the
same key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import InvalidDefinition
from ..finding import Finding
from ..text.nearest import did_you_mean
from ..text.paths import path_steps
from ..text.schema import (
    check_schema,
    declared_parts,
    declared_schema,
    fields_schema,
    with_defaults,
)
from ..text.source import DataPath, Document, read_yaml_file
from ..text.template import Reference, TemplateError, parse, path_lookup
from ..text.validation import Problem, Schema, validate
from .agent import Agent, spec_agent
from .spec import AgentSpec, filled_schema, schema_references, without_references


def read_agent_file(
    path: str | Path, *, shown_as: str | None = None, bundled: bool = False
) -> list[Agent]:
    """The agents of one YAML file, `shown_as` the name that messages give it.

    Raises InvalidDefinition with every mistake in it.
    """
    document = read_yaml_file(path, shown_as)
    data = document.data
    if isinstance(data, Mapping) and "agents" in data:
        agents, findings = read_agents(document, ("agents",), bundled=bundled)
        findings += _other_keys(document)
        found = list(agents.values())
    else:
        agent, findings = read_agent(document, (), bundled=bundled)
        found = [agent] if agent else []
    if findings:
        raise InvalidDefinition(findings)
    return found


def read_agents(
    document: Document, path: DataPath, *, bundled: bool = False
) -> tuple[dict[str, Agent], list[Finding]]:
    """The agents of a mapping of name to spec, and what is wrong with the others."""
    data = document.value(path)
    if not isinstance(data, Mapping):
        return {}, [_finding(document, path, Problem((), "must be a mapping of name to agent"))]
    agents, findings = {}, []
    for name in data:
        agent, wrong = read_agent(document, (*path, name), name=name, bundled=bundled)
        findings += wrong
        if agent:
            agents[name] = agent
    return agents, findings


def read_agent(
    document: Document, path: DataPath, *, name: str | None = None, bundled: bool = False
) -> tuple[Agent | None, list[Finding]]:
    """The agent described at `path`, or None and everything that is wrong with it.

    `name` is the key that it stands under, if it has no `name:` of its own.
    """
    data = document.value(path)
    if name is not None and isinstance(data, Mapping):
        data = {"name": name, **data}
    findings = [_finding(document, path, problem) for problem in check_spec(data)]
    if name is not None and not findings and data["name"] != name:
        problem = Problem(("name",), f"must be {name!r}, as the key above it says")
        findings.append(_finding(document, path, problem))
    if findings:
        return None, sorted(findings, key=_place)
    at = document.at(path, key=True) if path else document.at(("name",))
    origin = f"{document.file}:{at.line}" if path else document.file
    spec = AgentSpec.model_validate(data)
    return spec_agent(spec, origin, bundled=bundled, position=at), []


def check_spec(data: Any) -> list[Problem]:
    """Everything that is wrong with a spec; paths lead into it."""
    problems = validate(_spec_schema(), data)
    if not isinstance(data, Mapping):
        return problems
    wrong = {problem.path[0] for problem in problems if problem.path}
    sound = {key: value for key, value in data.items() if key not in wrong}
    problems += _input_problems(sound)
    problems += _output_problems(sound)
    if any(problem.path[:1] in (("input",), ("output",)) for problem in problems):
        return problems
    return [*problems, *_template_problems(sound), *_example_problems(sound)]


@lru_cache(maxsize=1)
def _spec_schema() -> Schema:
    schema = AgentSpec.model_json_schema()
    # Said better by `_input_problems` and `_output_problems`, which know the short form.
    schema["properties"]["output"] = True
    return schema


def _input_problems(data: Mapping[str, Any]) -> list[Problem]:
    declared = data.get("input") or {}
    problems = _declaration_problems(declared, ("input",), check_schema)
    if not problems and declared_schema(declared).get("type", "object") != "object":
        problems.append(Problem(("input", "type"), "an agent's input is always an object"))
    return problems


def _output_problems(data: Mapping[str, Any]) -> list[Problem]:
    declared = data.get("output")
    if declared is not None and not isinstance(declared, str | Mapping):
        return [Problem(("output",), "must be fields, a type name or a JSON Schema")]
    return (
        []
        if declared is None
        else _declaration_problems(declared, ("output",), _open_schema_problems)
    )


def _declaration_problems(
    declared: Any, path: DataPath, check: Callable[[Any], list[Problem]]
) -> list[Problem]:
    """Problems of fields or of a schema, with paths as they are written."""
    return [
        problem
        for part, schema in declared_parts(declared)
        for problem in _under((*path, *part), check(schema))
    ]


def _open_schema_problems(schema: Any) -> list[Problem]:
    """As `check_schema`, for a schema that may refer to inputs."""
    try:
        return check_schema(without_references(schema))
    except TemplateError as error:
        return [Problem((), str(error))]


def _template_problems(data: Mapping[str, Any]) -> Iterator[Problem]:
    inputs = _input_schema(data)
    for key in ("system", "prompt"):
        if isinstance(data.get(key), str):
            yield from _references_in(data[key], (key,), inputs)
    for part, schema in declared_parts(data.get("output") or {}):
        for path, template in schema_references(schema):
            place = ("output", *part, *path)
            if template.whole is None:
                yield Problem(place, "must be one reference, such as ${name}")
            yield from _references_in(template.text, place, inputs)


def _references_in(text: str, path: DataPath, inputs: Schema) -> Iterator[Problem]:
    try:
        references = parse(text).references
    except TemplateError as error:
        yield Problem(path, str(error))
        return
    for reference in references:
        message = _reference_problem(reference, inputs)
        if message:
            yield Problem(path, message)


def _reference_problem(reference: Reference, inputs: Schema) -> str | None:
    if not reference.is_path:
        return f"${{{reference.text}}} must be the path of an input, such as name or name.field"
    schema: Any = inputs
    for taken, step in enumerate(path_steps(reference.text)):
        if isinstance(step, int):
            schema = schema.get("items", {}) if isinstance(schema, Mapping) else {}
            continue
        fields = schema.get("properties") if isinstance(schema, Mapping) else None
        if not isinstance(fields, Mapping):
            return None
        if step not in fields:
            closed = schema.get("additionalProperties") is False
            return _no_field(reference.text, step, fields, taken) if closed or not taken else None
        schema = fields[step]
    return None


def _no_field(text: str, step: str, fields: Mapping[str, Any], taken: int) -> str:
    what = "field" if taken else "input"
    meant = did_you_mean(step, fields) or f"there is {', '.join(fields) or 'none'}"
    return f"${{{text}}}: no {what} named {step!r} is declared; {meant}"


def _example_problems(data: Mapping[str, Any]) -> Iterator[Problem]:
    inputs, output = _input_schema(data), data.get("output")
    for index, example in enumerate(data.get("examples") or ()):
        path: DataPath = ("examples", index)
        given = with_defaults(inputs, example["input"])
        wrong = validate(inputs, given)
        yield from _under((*path, "input"), wrong)
        if not wrong:
            yield from _under((*path, "output"), _example_output(output, given, example["output"]))


def _example_output(declared: Any, given: Mapping[str, Any], output: Any) -> list[Problem]:
    if declared is None:
        return [] if isinstance(output, str) and output else [Problem((), "must be text")]
    try:
        return validate(filled_schema(declared_schema(declared), path_lookup(given)), output)
    except TemplateError as error:
        return [Problem((), str(error))]


def _under(path: DataPath, problems: Iterable[Problem]) -> Iterator[Problem]:
    for problem in problems:
        yield Problem((*path, *problem.path), problem.message, problem.key)


def _input_schema(data: Mapping[str, Any]) -> Schema:
    declared = data.get("input")
    schema: Schema = declared_schema(declared) if declared else fields_schema({})
    return schema


def _finding(document: Document, path: DataPath, problem: Problem) -> Finding:
    steps = [str(step) for step in problem.path if not isinstance(step, int)]
    # Only the last name: the place tells the rest.
    named = f"{steps[-1]}: " if steps else ""
    place = (*path, *problem.path)
    quoted = _REFERENCE.match(problem.message)
    position = (
        document.locate(place, quoted.group()) if quoted else document.at(place, key=problem.key)
    )
    return Finding.error("agent", f"{named}{problem.message}", position)


# A message about one reference begins with it, as it stands in the file.
_REFERENCE = re.compile(r"\$\{[^}]*\}")


def _place(finding: Finding) -> tuple[int, int]:
    return (finding.position.line, finding.position.column) if finding.position else (0, 0)


def _other_keys(document: Document) -> list[Finding]:
    return [
        _finding(
            document, (), Problem((key,), "only `agents` stands at the top of this file", True)
        )
        for key in document.data
        if key != "agents"
    ]
