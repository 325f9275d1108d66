"""What a run would do, told without running anything.

Pure: what models answer and what past jobs cost is given by the caller, because only it may
ask endpoints and read the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ucop.agents.models.provider import ModelUse
from ucop.agents.text.schema import with_defaults
from ucop.agents.text.validation import validate

from ..check.mesh import members_of
from ..errors import InvalidInput
from ..workflow import Workflow
from ..workflows.yaml_workflow import YamlWorkflow
from .expectation import expected_of
from .order import map_nodes, model_of, shape_of
from .planned import (
    Branch,
    Expected,
    Objection,
    Past,
    PlannedInput,
    PlannedLoop,
    PlannedModel,
    PlannedNode,
    Waves,
)

if TYPE_CHECKING:
    from ucop.agents.errors import ModelError

Answers = Mapping[str, "ModelUse | ModelError"]
"""By the name that an agent asks for: which model answers, or why none does."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that can be known of a run before it runs."""

    workflow: str
    origin: str
    fingerprint: str
    inputs: tuple[PlannedInput, ...]
    waves: tuple[tuple[PlannedNode, ...], ...]
    """Nodes by the longest way to them: those of one wave can run at the same time."""
    branches: tuple[Branch, ...]
    loops: tuple[PlannedLoop, ...]
    limits: Mapping[str, float]
    """What the job may use at most, by name; `deadline` in seconds."""
    models: tuple[PlannedModel, ...]
    calls: int | None
    """Calls to models where every node runs once and nothing is tried again; None if that is not
    known: for the number of items, or for code that may ask a model."""
    expected: Expected | None
    """None if no job of the workflow has completed yet."""
    objections: tuple[Objection, ...]


def plan_of(
    workflow: Workflow,
    data: Mapping[str, Any],
    *,
    answers: Answers,
    past: Past | None = None,
    objections: Sequence[Objection] = (),
) -> Plan:
    """The plan of a run with the input `data`, which need not be complete.

    `answers` has every name of `asked_models`; `objections` are those of others.
    """
    inputs = tuple(_inputs(workflow, data))
    shape, branches, loops = shape_of(workflow, data)
    waves = _with_past_models(shape, past) if past else shape
    models = tuple(_models(waves, answers))
    return Plan(
        workflow=workflow.name,
        origin=workflow.origin,
        fingerprint=workflow.fingerprint,
        inputs=inputs,
        waves=waves,
        branches=branches,
        loops=loops,
        limits=workflow.limits.given(),
        models=models,
        calls=calls_of(waves),
        expected=expected_of(past) if past else None,
        objections=(*_refusals(workflow, data, inputs), *_missing_models(models), *objections),
    )


def asked_models(workflow: Workflow) -> tuple[str, ...]:
    """The names of models that the workflow's agents ask for, and those of workflows inside."""
    if not isinstance(workflow, YamlWorkflow):
        return ()
    called = [node.agent for node in workflow.definition.nodes.values() if node.agent]
    own = (model_of(workflow.agents.get(n)) for n in (*called, *members_of(workflow.definition)))
    inner = (name for each in workflow.workflows.values() for name in asked_models(each))
    return tuple(dict.fromkeys(name for name in (*own, *inner) if name is not None))


# ---- inputs ----


def _inputs(workflow: Workflow, data: Any) -> Iterator[PlannedInput]:
    if not workflow.takes_values:
        yield PlannedInput(name="input", required=True, given=data is not None, value=data)
        return
    schema = workflow.input_schema or {}
    fields, required = schema.get("properties", {}), schema.get("required", ())
    filled = with_defaults(schema, data)
    problems = _problems(workflow, schema, filled)
    for name in dict.fromkeys((*fields, *data)):
        yield PlannedInput(
            name=name,
            required=name in required,
            given=name in data,
            value=filled.get(name),
            problem=problems.get(name),
        )


def _problems(workflow: Workflow, schema: Mapping[str, Any], filled: Any) -> dict[str, str]:
    """What is wrong, by input. LangGraph takes more than a Python graph's schema tells."""
    if workflow.kind == "python":
        return {}
    found: dict[str, str] = {}
    for problem in validate(schema, filled):
        if problem.path:
            found.setdefault(str(problem.path[0]), str(problem))
    missing = [name for name in schema.get("required", ()) if name not in filled]
    return {**found, **dict.fromkeys(missing, "is missing")}


def _refusals(workflow: Workflow, data: Any, inputs: Iterable[PlannedInput]) -> Iterator[Objection]:
    wrong = [one for one in inputs if one.problem]
    for one in wrong:
        told = one.problem or ""
        message = told if told.startswith(one.name) else f"{one.name} {told}"
        yield Objection(by="input", message=message)
    if wrong:
        return
    try:
        workflow.accept(data)
    except InvalidInput as error:
        yield Objection(by="input", message=str(error))


# ---- models ----


def _with_past_models(waves: Waves, past: Past) -> Waves:
    """The nodes with the models that answered them before."""

    def seen(node: PlannedNode) -> PlannedNode:
        answered = tuple(past.models.get(node.name, ()))
        return replace(node, answered=answered, inside=map_nodes(node.inside, seen))

    return map_nodes(waves, seen)


def all_nodes(waves: Waves) -> Iterator[PlannedNode]:
    """Every node, each followed by those inside it."""
    for node in (node for wave in waves for node in wave):
        yield node
        yield from all_nodes(node.inside)


def calls_of(waves: Waves) -> int | None:
    """Calls to models where every node runs once; None if their number is not known."""
    found = 0
    for node in (node for wave in waves for node in wave):
        each = calls_of(node.inside) if node.inside else int(node.asks is not None)
        if each is None or node.may_ask or node.at_will:
            return None
        if each and node.each is not None and node.items is None:
            return None
        found += each if node.items is None else each * node.items
    return found


def _models(waves: Waves, answers: Answers) -> Iterator[PlannedModel]:
    asking: dict[str, list[str]] = {}
    for node in all_nodes(waves):
        if node.asks is not None:
            asking.setdefault(node.asks, []).append(node.name)
    for asked, nodes in asking.items():
        answer = answers[asked]
        yield PlannedModel(
            asked=asked,
            nodes=tuple(nodes),
            name=answer.name if isinstance(answer, ModelUse) else None,
            embedded=isinstance(answer, ModelUse) and answer.embedded,
            note=answer.note if isinstance(answer, ModelUse) else str(answer),
        )


def _missing_models(models: Iterable[PlannedModel]) -> Iterator[Objection]:
    for model in models:
        if model.name is None:
            yield Objection(by="model", message=model.note, nodes=model.nodes)
