"""`--dry-run`: the plan of a run, joined from the workflow, the endpoints and past jobs.

It asks endpoints which models they have, and asks no model anything; it reads past jobs, and
makes no database.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ucop.graphs.plan.plan import Plan
from ucop.graphs.plan.planned import (
    Branch,
    Expected,
    Objection,
    PlannedInput,
    PlannedLoop,
    PlannedModel,
    PlannedNode,
    Range,
    Waves,
)

from ..view.exits import Exit
from ..view.output import put
from ..view.place import Place
from ..view.plan import make_plan
from ..view.tables import first_line, limit, plural

if TYPE_CHECKING:
    from ucop.graphs.workflow import Workflow


def show_plan(place: Place, workflow: Workflow, data: Mapping[str, Any], *, as_json: bool) -> Exit:
    """Print the plan. The exit code is the one that the run would be refused or fail with."""
    plan = make_plan(place, workflow, data)
    if as_json:
        put(json.dumps(asdict(plan), ensure_ascii=False, indent=2, default=_plain))
    else:
        for line in _lines(plan):
            put(line)
    if any(one.by in ("input", "gate") for one in plan.objections):
        return Exit.USAGE
    return Exit.FAILED if plan.objections else Exit.OK


def _plain(value: Any) -> Any:
    return value.value


# ---- as text ----


def _lines(plan: Plan) -> Iterator[str]:
    yield f"{plan.workflow}  ({plan.origin})"
    yield from _section("input", [_input(one) for one in plan.inputs])
    yield from _section("order (nodes with the same number run in parallel)", _waves(plan))
    yield from _section("branches", [_branch(one) for one in plan.branches])
    yield from _section("loops", [_loop(one) for one in plan.loops])
    yield from _section("limits", [limit(*one) for one in plan.limits.items()])
    yield from _section("models", [_model(one) for one in plan.models])
    yield from _section("expected", _expectation(plan.expected, plan))
    yield from _section("objections", [_objection(one) for one in plan.objections] or ["none"])


def _section(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield ""
        yield f"{title}:"
        yield from (f"  {line}" for line in lines)


def _input(one: PlannedInput) -> str:
    if one.problem:
        told = one.problem.removeprefix(f"{one.name}: ")
        return f"{one.name}: {told}" if one.given else f"{one.name}: missing"
    value = first_line(json.dumps(one.value, ensure_ascii=False))
    return f"{one.name}: {value}" + ("" if one.given else ", the default")


def _waves(plan: Plan) -> list[str]:
    named = {model.asked: model for model in plan.models}
    return list(_numbers(plan.waves, named, ""))


def _numbers(waves: Waves, models: Mapping[str, PlannedModel], before: str) -> Iterator[str]:
    """One line a node; the waves of a workflow inside stand under it, as `2.1`."""
    for number, wave in enumerate(waves, start=1):
        for node in wave:
            yield f"{before}{number}  {_node(node, models)}"
            yield from _numbers(node.inside, models, f"{before}{number}.")


def _node(node: PlannedNode, models: Mapping[str, PlannedModel]) -> str:
    words = [node.work]
    if node.asks is not None:
        model = models[node.asks]
        stand_in = " (the small embedded model)" if model.embedded else ""
        words.append(f"model {model.name}{stand_in}" if model.name else "no model")
    elif node.answered:
        words.append(f"asked {', '.join(node.answered)} before")
    elif node.may_ask:
        words.append("code that may ask a model")
    if node.at_will:
        words.append("as often as it is asked")
    if node.each:
        words.append(node.each)
    if node.items is not None:
        words.append(plural(node.items, "item"))
    words += [f"{key} {_policy(value)}" for key, value in node.policies.items()]
    return f"{node.name}: {'; '.join(words)}"


def _policy(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{key} {one}" for key, one in value.items())
    return f"{value:g} s" if isinstance(value, float) else str(value)


def _branch(branch: Branch) -> str:
    ways = []
    for way in branch.ways:
        words = [way.target]
        if way.when and way.when != "otherwise":
            words.append(f"if {way.when}")
        if way.at_most is not None:
            words.append(_bound(way.at_most))
        ways.append(" ".join(words))
    return f"after {branch.source}: {', else '.join(ways)}".replace(
        "else END otherwise", "else END"
    )


def _bound(at_most: int) -> str:
    return f"(at most {plural(at_most, 'time')})"


def _loop(loop: PlannedLoop) -> str:
    bound = "as often as the graph decides" if loop.at_most is None else _bound(loop.at_most)
    again = f", {' -> '.join(loop.body)} again" if len(loop.body) > 1 else ""
    return f"{loop.source} -> {loop.target} {bound}{again}"


def _model(model: PlannedModel) -> str:
    served = model.name or "nobody"
    return f"{model.asked}: {served}, for {', '.join(model.nodes)}; {first_line(model.note, 160)}"


def _expectation(expected: Expected | None, plan: Plan) -> list[str]:
    if expected is None:
        asking = sum(len(model.nodes) for model in plan.models)
        told = f"; {plural(asking, 'node')} would ask a model" if plan.models else ""
        if plan.models and plan.calls is not None:
            told += f", {plural(plan.calls, 'call')} where each runs once"
        return [f"no completed job to tell from yet{told}"]
    of = "" if expected.same_definition else " of earlier definitions"
    cost = expected.cost
    return [
        f"p50–p95 of the last {plural(expected.jobs, 'run')}{of}",
        f"model calls: {_range(expected.model_calls)}",
        f"tokens in: {_range(expected.tokens_in)}",
        f"tokens out: {_range(expected.tokens_out)}",
        f"cost: {'price unknown' if cost is None else f'${cost.p50:.4f}–${cost.p95:.4f}'}",
    ]


def _range(one: Range) -> str:
    return f"{one.p50:,.0f}–{one.p95:,.0f}"


def _objection(one: Objection) -> str:
    where = f" ({', '.join(one.nodes)})" if one.nodes else ""
    return f"{one.by}{where}: {' '.join(one.message.split())}"
