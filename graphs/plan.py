"""What a run would do, told without running anything.

Pure: what models answer and what past jobs cost is given by the caller, because only it may
ask endpoints and read the ledger.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from ucop.agents.models.aliases import DEFAULT_ALIAS
from ucop.agents.models.serving import ModelUse
from ucop.agents.spec.function_body import FunctionBody
from ucop.agents.text.schema import validate, with_defaults

from .check.mesh import members_of
from .errors import InvalidInput
from .language.definition import END, START, Mesh, Route
from .language.kind import NodeKind, kind_of, work_of
from .pictures.picture import Picture, condition_of, each_of, picture_of, waves_of
from .topology.topology import topology_of
from .types.foresight import Foresight
from .workflow import Workflow
from .workflows.mesh_workflow import MeshWorkflow
from .workflows.yaml_workflow import YamlWorkflow

if TYPE_CHECKING:
    from ucop.agents.errors import ModelError
    from ucop.agents.spec.agent import Agent

Answers = Mapping[str, "ModelUse | ModelError"]
"""By the name that an agent asks for: which model answers, or why none does."""


@dataclass(frozen=True, kw_only=True)
class PlannedInput:
    """One input of the job."""

    name: str
    required: bool
    given: bool
    value: Any = None
    """As given, else the default."""
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class PlannedNode:
    """One node, who does its work, and how it may go."""

    name: str
    kind: NodeKind
    work: str
    """Who works, in a few words: `agent reviewer`."""
    asks: str | None = None
    """The name of the model that it asks; None where none is known."""
    may_ask: bool = False
    """Whether it is code that is given models, and may ask one."""
    at_will: bool = False
    """Whether the agents of a mesh decide how often it is called, if at all."""
    answered: tuple[str, ...] = ()
    """The models that answered it in past jobs."""
    each: str | None = None
    """What it runs over, where it runs once per item."""
    items: int | None = None
    """Over how many items, where the input tells."""
    policies: Mapping[str, Any]
    """`retry`, `timeout`, `cache`, `within`, `default` and `on_error` as they are declared."""
    inside: tuple[tuple[PlannedNode, ...], ...] = ()
    """The waves of the workflow that it runs, named as their steps will be: `node/inner`."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way on: its target, and when it is taken."""

    target: str
    when: str = ""
    at_most: int | None = None


@dataclass(frozen=True, kw_only=True)
class Branch:
    """Ways out of a node of which one is taken: the first that holds."""

    source: str
    ways: tuple[Way, ...]


@dataclass(frozen=True, kw_only=True)
class PlannedLoop:
    """A way back."""

    source: str
    target: str
    at_most: int | None
    """None where a Python graph decides by itself."""
    body: tuple[str, ...] = ()
    """The nodes that run again."""


@dataclass(frozen=True, kw_only=True)
class PlannedModel:
    """What answers to one name of a model."""

    asked: str
    nodes: tuple[str, ...]
    name: str | None
    """`provider:model` of what would answer; None where nothing would."""
    embedded: bool
    """Whether it is the small embedded model."""
    note: str


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What one past job used."""

    model_calls: int
    tokens_in: int
    tokens_out: int
    cost: float | None
    """US dollars; None where a price is unknown."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """What half of the past jobs stayed within, and what 95 of 100 did."""

    p50: float
    p95: float


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the run may use, from past jobs."""

    jobs: int
    same_definition: bool
    """Whether they ran this very definition, or earlier ones of the same name."""
    model_calls: Range
    tokens_in: Range
    tokens_out: Range
    cost: Range | None
    """US dollars; None where the price of a past job is unknown."""


@dataclass(frozen=True, kw_only=True)
class Past:
    """Completed jobs of the workflow."""

    jobs: Sequence[Spent]
    same_definition: bool
    models: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By node: the models that answered it."""


@dataclass(frozen=True, kw_only=True)
class Objection:
    """Why the run would be refused, or fail."""

    by: Literal["input", "model", "database", "gate"]
    """Who objects; `gate` is the NoMockGate."""
    message: str
    nodes: tuple[str, ...] = ()


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
    """Calls to models where every node runs once and nothing is tried again; None where that is not
    known: for the number of items, or for code that may ask a model."""
    expected: Expected | None
    """None where no job of the workflow has completed yet."""
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
    shape, branches, loops = _shape(workflow, data)
    waves = _seen(shape, past) if past else shape
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
        objections=(*_refusals(workflow, data, inputs), *_unserved(models), *objections),
    )


def asked_models(workflow: Workflow) -> tuple[str, ...]:
    """The names of models that the workflow's agents ask for, and those of workflows inside."""
    if not isinstance(workflow, YamlWorkflow):
        return ()
    called = [node.agent for node in workflow.definition.nodes.values() if node.agent]
    own = (_model_of(workflow.agents.get(n)) for n in (*called, *members_of(workflow.definition)))
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


# ---- nodes and edges ----

Waves = tuple[tuple[PlannedNode, ...], ...]
_Shape = tuple[Waves, tuple[Branch, ...], tuple[PlannedLoop, ...]]
_POLICIES = ("retry", "timeout", "cache", "within", "default", "on_error")


def _shape(workflow: Workflow, data: Mapping[str, Any]) -> _Shape:
    """`data` are the inputs that are known."""
    if isinstance(workflow, MeshWorkflow):
        return _members(workflow, workflow.mesh), (), ()
    if isinstance(workflow, YamlWorkflow):
        return _of_definition(workflow, Foresight.of(workflow.definition, data))
    return _of_picture(picture_of(workflow))


def _of_definition(workflow: YamlWorkflow, foresight: Foresight) -> _Shape:
    topology = topology_of(workflow.definition)
    nodes = workflow.stored["definition"]["nodes"]
    inner = {
        node.name: _inside(
            node.name,
            _shape(workflow.workflows[node.workflow], foresight.given_by(node)),
        )
        for node in workflow.definition.nodes.values()
        if node.workflow
    }
    inner |= {
        node.name: _inside(node.name, (_members(workflow, node.mesh), (), ()))
        for node in workflow.definition.nodes.values()
        if node.mesh is not None
    }
    waves = tuple(
        tuple(
            replace(
                _node(workflow, name, nodes[name]),
                items=foresight.items(workflow.definition.nodes[name]),
                inside=inner[name][0] if name in inner else (),
            )
            for name in wave
        )
        for wave in waves_of(picture_of(workflow))
    )
    own = tuple(_branch(route) for route in workflow.definition.routes if _chooses(route))
    branches = (*own, *(branch for shape in inner.values() for branch in shape[1]))
    loops = tuple(
        PlannedLoop(
            source=loop.source,
            target=loop.target,
            at_most=loop.at_most,
            body=tuple(name for name in topology.order if name in loop.body),
        )
        for loop in topology.loops.values()
    )
    return waves, branches, (*loops, *(loop for shape in inner.values() for loop in shape[2]))


def _members(workflow: YamlWorkflow, mesh: Mesh) -> Waves:
    """Who may be called first, and who then; how often each is, nobody knows before."""
    agents = [workflow.agents[name] for name in mesh.agents]
    first = [
        agent
        for agent in agents
        if agent.name == mesh.entry or mesh.entry_capability in agent.capabilities
    ]
    others = [agent for agent in agents if agent not in first]
    return tuple(tuple(map(_member, wave)) for wave in (first, others) if wave)


def _member(agent: Agent) -> PlannedNode:
    can = f", which can {', '.join(agent.capabilities)}" if agent.capabilities else ""
    return PlannedNode(
        name=agent.name,
        kind=NodeKind.agent,
        work=f"agent {agent.name}{can}",
        asks=_model_of(agent),
        may_ask=_is_given_models(agent),
        at_will=True,
        policies={},
    )


def _inside(node: str, shape: _Shape) -> _Shape:
    """The shape of a workflow that `node` runs, with the names that its steps will have."""

    def named(name: str) -> str:
        return name if name in (START, END) else f"{node}/{name}"

    def placed(one: PlannedNode) -> PlannedNode:
        return replace(one, name=named(one.name), inside=_renamed(one.inside, placed))

    waves, branches, loops = shape
    return (
        _renamed(waves, placed),
        tuple(
            Branch(
                source=f"{node}/{branch.source}",
                ways=tuple(replace(way, target=named(way.target)) for way in branch.ways),
            )
            for branch in branches
        ),
        tuple(
            replace(
                loop,
                source=named(loop.source),
                target=named(loop.target),
                body=tuple(named(name) for name in loop.body),
            )
            for loop in loops
        ),
    )


def _renamed(waves: Waves, placed: Callable[[PlannedNode], PlannedNode]) -> Waves:
    return tuple(tuple(placed(node) for node in wave) for wave in waves)


def _node(workflow: YamlWorkflow, name: str, said: Mapping[str, Any]) -> PlannedNode:
    return PlannedNode(
        name=name,
        kind=kind_of(said),
        work=_work(workflow, name, said),
        asks=_asks(workflow, said),
        may_ask=_may_ask(workflow, said),
        each=each_of(said) if "each" in said else None,
        policies={key: said[key] for key in _POLICIES if key in said},
    )


def _work(workflow: YamlWorkflow, name: str, said: Mapping[str, Any]) -> str:
    able = workflow.definition.nodes[name].capability
    return work_of(said) + (f", which can {able}" if able else "")


def _asks(workflow: YamlWorkflow, said: Mapping[str, Any]) -> str | None:
    """The model that a node's agent asks for; what a Python function asks is not known."""
    return _model_of(_agent(workflow, said))


def _model_of(agent: Agent | None) -> str | None:
    if agent is None or agent.spec is None:
        return None
    return agent.spec.model or DEFAULT_ALIAS


def _may_ask(workflow: YamlWorkflow, said: Mapping[str, Any]) -> bool:
    agent = _agent(workflow, said)
    return agent is not None and _is_given_models(agent)


def _is_given_models(agent: Agent) -> bool:
    return isinstance(agent.body, FunctionBody) and agent.body.takes_context


def _agent(workflow: YamlWorkflow, said: Mapping[str, Any]) -> Agent | None:
    named = said.get("agent")
    return workflow.agents.get(named) if isinstance(named, str) else None


def _chooses(route: Route) -> bool:
    return len(route.entries) > 1 or route.entries[0].when is not None


def _branch(route: Route) -> Branch:
    return Branch(
        source=route.source,
        ways=tuple(
            Way(target=entry.target, when=condition_of(entry, route), at_most=entry.at_most)
            for entry in route.entries
        ),
    )


def _of_picture(picture: Picture) -> _Shape:
    """What a Python graph tells: nodes, edges, and the names of branches."""
    branches: dict[str, list[Way]] = {}
    for arrow in picture.arrows:
        if arrow.when:
            way = Way(target=arrow.target, when=arrow.when)
            branches.setdefault(arrow.source, []).append(way)
    return (
        tuple(tuple(_python_node(name) for name in wave) for wave in waves_of(picture)),
        tuple(Branch(source=source, ways=tuple(ways)) for source, ways in branches.items()),
        tuple(
            PlannedLoop(source=arrow.source, target=arrow.target, at_most=None)
            for arrow in picture.arrows
            if arrow.loop
        ),
    )


def _python_node(name: str) -> PlannedNode:
    return PlannedNode(name=name, kind=NodeKind.python, work="python", may_ask=True, policies={})


# ---- models ----


def _seen(waves: Waves, past: Past) -> Waves:
    """The nodes with the models that answered them before."""

    def seen(node: PlannedNode) -> PlannedNode:
        answered = tuple(past.models.get(node.name, ()))
        return replace(node, answered=answered, inside=_renamed(node.inside, seen))

    return _renamed(waves, seen)


def all_nodes(waves: Waves) -> Iterator[PlannedNode]:
    """Every node, each followed by those inside it."""
    for node in (node for wave in waves for node in wave):
        yield node
        yield from all_nodes(node.inside)


def calls_of(waves: Waves) -> int | None:
    """Calls to models where every node runs once; None where their number is not known."""
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


def _unserved(models: Iterable[PlannedModel]) -> Iterator[Objection]:
    for model in models:
        if model.name is None:
            yield Objection(by="model", message=model.note, nodes=model.nodes)


# ---- what past jobs used ----


def expected_of(past: Past) -> Expected | None:
    """The middle and the upper end of what past jobs used; None without any."""
    if not past.jobs:
        return None
    costs = [job.cost for job in past.jobs if job.cost is not None]
    return Expected(
        jobs=len(past.jobs),
        same_definition=past.same_definition,
        model_calls=range_of([job.model_calls for job in past.jobs]),
        tokens_in=range_of([job.tokens_in for job in past.jobs]),
        tokens_out=range_of([job.tokens_out for job in past.jobs]),
        # One unknown price makes the range unknown: it would only be too low.
        cost=range_of(costs) if len(costs) == len(past.jobs) else None,
    )


def range_of(numbers: Sequence[float]) -> Range:
    """p50 and p95 by nearest rank: numbers that really were."""
    ordered = sorted(numbers)

    def rank(share: float) -> float:
        return ordered[math.ceil(share * len(ordered)) - 1]

    return Range(p50=rank(0.50), p95=rank(0.95))
