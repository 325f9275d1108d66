"""One broken definition for each finding that there is, and the agents that they name."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

from tests.support.broken import workflow
from ucop.agents.run.context import AgentContext
from ucop.agents.spec.function import agent
from ucop.agents.spec.merging import merge
from ucop.agents.spec.registry import Registry


class Section(TypedDict):
    heading: str


class Outline(TypedDict):
    title: str
    sections: list[Section]
    score: int


@agent("step")
def step(value: Any = None) -> Any:
    """Takes and gives anything."""
    return value


@agent("outliner")
def outliner(topic: str, count: int = 3) -> Outline:
    """Typed on both sides."""
    return {"title": topic, "sections": [], "score": count}


@agent("counter", capabilities=["count"])
def counter(text: str) -> int:
    return len(text)


@agent("asker", capabilities=["ask"], asks=["count"])
def asker(text: str, context: AgentContext) -> int:
    found: int = context.ask("count", {"text": text})
    return found


@merge
def newest(old: list[Any] | None, new: Any) -> list[Any]:
    return [*(old or []), new][-3:]


REGISTRY = Registry.of(step, outliner, counter, asker, newest)

A = "  a: {agent: step, writes: x}\n"
B = "  b: {agent: step, writes: y}\n"
C = "  c: {agent: step, writes: z}\n"
AB = A + B
ABC = A + B + C

BROKEN: dict[str, tuple[list[str], str]] = {
    # ---- form ----
    "a list instead of a workflow": (["wrong-type"], "¶[a, b]\n"),
    "an empty file": (["wrong-type"], "¶\n"),
    "no name": (["missing-key"], "¶nodes: {a: {agent: step}}\n"),
    "a name with a space": (["bad-name"], "name: ¶my flow\nnodes: {a: {agent: step}}\n"),
    "no nodes": (["missing-key"], "¶name: flow\n"),
    "nodes without any": (["no-nodes"], "name: flow\nnodes: ¶{}\n"),
    "an unknown key at the top": (["unknown-key"], workflow(A) + "¶edge: []\n"),
    "an unknown key of a node": (["unknown-key"], workflow("  a: {agent: step, ¶wites: x}")),
    "a duplicate key": (["duplicate-key"], workflow(A + "  ¶a: {agent: step}")),
    "a node that is a text": (["wrong-type"], workflow("  a: ¶step")),
    "a node without an agent": (["missing-key"], workflow("  ¶a: {writes: x}")),
    "an agent that is a number": (["wrong-type"], workflow("  a: {agent: ¶3}")),
    "with that is a list": (["wrong-type"], workflow("  a: {agent: step, with: ¶[1]}")),
    "a description that is a number": (["wrong-type"], workflow(A, rest="description: ¶3\n")),
    "a node named END": (["reserved-name"], workflow("  ¶END: {agent: step}")),
    "a node with an underscore": (["reserved-name"], workflow("  ¶_a: {agent: step}")),
    "a node with a question mark": (["bad-name"], workflow("  ¶a?: {agent: step}")),
    "a node with a bar": (["bad-name"], workflow("  ¶a|b: {agent: step}")),
    "a value named like a word of CEL": (
        ["reserved-name"],
        workflow("  a: {agent: step, writes: ¶in}"),
    ),
    "a value named errors": (["reserved-name"], workflow("  a: {agent: step, writes: ¶errors}")),
    "a value with a hyphen": (["bad-name"], workflow("  a: {agent: step, writes: ¶a-b}")),
    "an input with an underscore": (
        ["reserved-name"],
        workflow(A, rest="input: {¶_x: string}\n"),
    ),
    # ---- limits ----
    "limits that are a number": (["wrong-type"], workflow(A, rest="limits: ¶3\n")),
    "an unknown limit": (["unknown-key"], workflow(A, rest="limits: {¶token: 3}\n")),
    "limits that nothing can keep": (
        ["bad-value"] * 5,
        workflow(
            A,
            rest="limits:\n  deadline: ¶0s\n  steps: ¶0\n  model_calls: ¶0\n  tokens: ¶-1\n"
            "  cost: ¶0\n",
        ),
    ),
    "limits of other kinds": (
        ["bad-value"] * 5,
        workflow(
            A,
            rest="limits:\n  deadline: ¶soon\n  steps: ¶1.5\n  model_calls: ¶many\n"
            "  tokens: ¶true\n  cost: ¶cheap\n",
        ),
    ),
    "a limit beyond every number": (
        ["bad-value"],
        workflow(A, rest=f"limits: {{tokens: ¶{10**18}}}\n"),
    ),
    "fewer steps than every run has": (
        ["few-steps"],
        workflow(
            ABC,
            "  - START -> a -> [b, c]\n  - b -> c -> END",
            "limits: {steps: ¶2}\n",
        ),
    ),
    # ---- types ----
    "an unknown type": (
        ["bad-type"],
        workflow("  a: {agent: step, with: {value: '${t}'}}", rest="input: {t: ¶strng}\n"),
    ),
    "a type that is a number": (
        ["bad-type"],
        workflow("  a: {agent: step, with: {value: '${t}'}}", rest="input: {t: ¶3}\n"),
    ),
    "an unknown keyword of a type": (
        ["bad-type"],
        workflow(
            "  a: {agent: step, with: {value: '${t}'}}",
            rest="input: {t: {type: string, minLenght: ¶3}}\n",
        ),
    ),
    "a default of another type": (
        ["bad-default"],
        workflow(
            "  a: {agent: step, with: {value: '${t}'}}",
            rest="input: {t: {type: integer, default: ¶x}}\n",
        ),
    ),
    "an unknown merge": (
        ["bad-merge"],
        workflow("  a: {agent: step, writes: t}", rest="state: {t: {merge: ¶apend}}\n"),
    ),
    "a custom merge without a function": (
        ["bad-merge"],
        workflow("  a: {agent: step, writes: t}", rest="state: {t: {merge: ¶custom}}\n"),
    ),
    "a custom merge that is nowhere": (
        ["unknown-merge"],
        workflow("  a: {agent: step, writes: t}", rest="state: {t: {merge: {custom: ¶newst}}}\n"),
    ),
    "a merge of another kind": (
        ["missing-key", "unknown-key"],
        workflow(
            "  a: {agent: step, writes: t}", rest="state: {t: {merge: ¶{¶function: newest}}}\n"
        ),
    ),
    "a custom merge that is a number": (
        ["wrong-type"],
        workflow("  a: {agent: step, writes: t}", rest="state: {t: {merge: {custom: ¶3}}}\n"),
    ),
    "a name that is input and state": (
        ["duplicate-name"],
        workflow(
            "  a: {agent: step, with: {value: '${t}'}}",
            rest="input: {t: string}\nstate: {¶t: string}\n",
        ),
    ),
    # ---- what is not there yet ----
    "an unknown workflow": (["unknown-workflow"], workflow("  a: {workflow: ¶other, writes: x}")),
    "a workflow that is a list": (["wrong-type"], workflow("  a: {workflow: ¶[other]}")),
    # ---- meshes ----
    "a mesh that is a list": (["wrong-type"], workflow("  a: {mesh: ¶[b, c], writes: x}")),
    "a mesh without an entry": (["missing-key"], workflow("  a: {mesh: ¶{max_hops: 3}}")),
    "an unknown key of a mesh": (
        ["unknown-key"],
        workflow("  a: {mesh: {entry: step, ¶hops: 3}, writes: x}"),
    ),
    "a mesh with cached answers": (
        ["wrong-kind"],
        workflow("  a: {mesh: {entry: step}, ¶cache: 1h, writes: x}"),
    ),
    "a mesh of nobody": (
        ["bad-value"],
        workflow("  a: {mesh: {entry: step, ¶agents: []}, writes: x}"),
    ),
    "several mistakes of one mesh": (
        ["unknown-agent", "unknown-agent", "unknown-capability", "wrong-type", "bad-value"],
        workflow(
            "  a:\n    mesh:\n      entry: ¶stepp\n"
            "      agents: [step, ¶nobody, {capability: ¶magic}, ¶7]\n      max_hops: ¶0"
        ),
    ),
    "a mesh in which nobody can do what an agent asks for": (
        ["missing-capability"],
        workflow("  a: {mesh: {entry: asker, agents: ¶[step]}, with: {text: x}, writes: x}"),
    ),
    "a mesh whose entry lacks an input": (
        ["missing-input"],
        workflow("  ¶a: {mesh: {entry: asker}, writes: x}"),
    ),
    "a mesh whose entry takes another type": (
        ["wrong-input"],
        workflow("  a: {mesh: {entry: {capability: ask}}, with: {text: ¶3}, writes: x}"),
    ),
    "an answer of a mesh that is a number": (
        ["wrong-input-type"],
        workflow(
            "  a: {mesh: {entry: asker}, with: {text: x}, writes: x}\n"
            "  b: {agent: counter, with: {text: ¶'${x.answer}'}, writes: y}"
        ),
    ),
    "a workflow that is a mesh and has nodes": (
        ["wrong-kind", "wrong-kind"],
        "kind: mesh\nname: flow\nmesh: {entry: step}\n¶nodes: {}\n¶state: {}\n",
    ),
    "a workflow of another kind": (
        ["bad-value"],
        "name: flow\nkind: ¶swarm\nnodes: {a: {agent: step}}\n",
    ),
    "a mesh without its kind": (
        ["wrong-kind"],
        "name: flow\nnodes: {a: {agent: step}}\n¶mesh: {entry: step}\n",
    ),
    "a workflow of kind mesh without one": (["missing-key"], "¶kind: mesh\nname: flow\n"),
    "a mesh whose input is named like its result": (
        ["duplicate-name"],
        "kind: mesh\nname: flow\ninput: {¶result: string}\nmesh: {entry: step}\n"
        "with: {value: '${result}'}\n",
    ),
    "a mesh whose input does not fit its entry": (
        ["wrong-input-type"],
        "kind: mesh\nname: flow\ninput: {text: integer}\nmesh: {entry: asker}\n"
        "with: {text: ¶'${text}'}\n",
    ),
    "a cache for no time": (["bad-value"], workflow("  a: {agent: step, cache: ¶0s}")),
    "a cache without its time": (["missing-key"], workflow("  a: {agent: step, cache: ¶{}}")),
    "an unknown key of cache": (
        ["unknown-key"],
        workflow("  a: {agent: step, cache: {ttl: 1h, ¶size: 3}}"),
    ),
    "a question that is cached": (["wrong-kind"], workflow("  a: {ask: 'Well?', ¶cache: 1h}")),
    "a workflow that is cached": (
        ["unknown-workflow", "wrong-kind"],
        workflow("  a: {workflow: ¶other, ¶cache: 1h}"),
    ),
    "a default cache of another kind": (
        ["bad-value"],
        workflow(A, rest="defaults: {cache: ¶yes}\n"),
    ),
    "a capability that no agent has": (
        ["unknown-capability"],
        workflow("  a: {agent: {capability: ¶cout}}"),
    ),
    "a capability that is a number": (["wrong-type"], workflow("  a: {agent: {capability: ¶3}}")),
    "an agent of another kind": (["missing-key"], workflow("  a: {agent: ¶{}}")),
    "an agent that lacks the input of its capability": (
        ["missing-input"],
        workflow("  ¶a: {agent: {capability: count}}"),
    ),
    # ---- values of nodes ----
    "limit without each": (["without-each"], workflow("  a: {agent: step, ¶limit: 3}")),
    "as without each": (["without-each"], workflow("  a: {agent: step, ¶as: x}")),
    "a limit of none": (
        ["bad-value"],
        workflow("  a: {agent: step, each: '${[1]}', limit: ¶0}"),
    ),
    "a limit that is a text": (
        ["wrong-type"],
        workflow("  a: {agent: step, each: '${[1]}', limit: ¶'4'}"),
    ),
    "a timeout without a number": (["bad-value"], workflow("  a: {agent: step, timeout: ¶soon}")),
    "a timeout of nothing": (["bad-value"], workflow("  a: {agent: step, timeout: ¶0}")),
    "an unknown key of retry": (
        ["unknown-key"],
        workflow("  a: {agent: step, retry: {¶atempts: 3}}"),
    ),
    "a node that does two things": (
        ["several-kinds"],
        workflow("  a: {agent: step, ¶ask: 'Well?'}"),
    ),
    "a question that is a list": (["wrong-type"], workflow("  a: {ask: ¶[x]}")),
    "an answer without a question": (
        ["wrong-kind"],
        workflow("  a: {agent: step, ¶answer: string}"),
    ),
    "an answer of an unknown type": (["bad-type"], workflow("  a: {ask: 'Well?', answer: ¶strin}")),
    "an answer with a field of an unknown type": (
        ["bad-type"],
        workflow("  a: {ask: 'Well?', answer: {ok: ¶bool}}"),
    ),
    "a default without a time": (["missing-key"], workflow("  a: {ask: 'Well?', ¶default: x}")),
    "a time for an answer that is none": (
        ["bad-value"],
        workflow("  a: {ask: 'Well?', within: ¶soon}"),
    ),
    "a time to wait where nobody is asked": (
        ["wrong-kind"],
        workflow("  a: {agent: step, ¶within: 1h}"),
    ),
    "defaults that do not fit the answer": (
        ["bad-value", "bad-value"],
        workflow(
            "  a:\n    ask: Well?\n    answer: {ok: boolean, size: integer}\n    within: 2d\n"
            "    default:\n      ok: ¶3\n      size: ¶much"
        ),
    ),
    "a default that lacks a field": (
        ["bad-value"],
        workflow("  a: {ask: 'Well?', answer: {ok: boolean}, within: 1h, default: ¶{}}"),
    ),
    "a default with an expression": (
        ["bad-value"],
        workflow("  a: {ask: 'Well?', within: 1h, default: ¶'${x}'}"),
    ),
    "an answer that is a number": (["bad-type"], workflow("  a: {ask: 'Well?', answer: ¶3}")),
    "a question with the policies of a call": (
        ["wrong-kind"] * 4,
        workflow(
            "  a: {ask: '${item}', each: '${[1]}', ¶limit: 2, ¶timeout: 1s, ¶retry: {}, ¶with: {a: 1}}"
        ),
    ),
    "a question about what is not there": (
        ["unknown-reference"],
        workflow("  a: {ask: 'Publish ${¶title}?'}"),
    ),
    "a field that no answer has": (
        ["unknown-field"],
        workflow(
            "  a: {ask: 'Well?', answer: {ok: boolean}, writes: x}\n"
            "  b: {agent: step, with: {value: '${¶x.okay}'}}"
        ),
    ),
    "an answer of another type than is needed": (
        ["wrong-input-type"],
        workflow(
            "  a: {ask: 'Well?', answer: {ok: boolean}, writes: x}\n"
            "  b: {agent: counter, with: {text: ¶'${x.ok}'}}"
        ),
    ),
    "an error that leads nowhere": (["missing-key"], workflow("  a: {agent: step, on_error: ¶{}}")),
    "an error that leads to an unknown node": (
        ["unknown-node"],
        workflow(A + "  bee: {agent: step, on_error: {node: ¶c}}", "  - START -> a -> bee -> END"),
    ),
    "an error that leads to START": (
        ["unknown-node"],
        workflow("  a: {agent: step, on_error: {node: ¶START}}", "  - START -> a -> END"),
    ),
    "an error that leads to a node without edges": (
        ["error-node-derived"],
        workflow(A + "  b: {agent: step, with: {value: '${x}'}, on_error: {node: ¶a}}"),
    ),
    "an error that leads back": (
        ["unbounded-loop"],
        workflow(A + "  b: {agent: step, on_error: {node: ¶a}}", "  - START -> a -> b -> END"),
    ),
    "an error of an unknown node": (
        ["unknown-node"],
        workflow(
            A + "  b: {agent: step, with: {value: '${¶errors.aa}'}}", "  - START -> a -> b -> END"
        ),
    ),
    "an unknown field of an error": (
        ["unknown-field"],
        workflow(
            "  a: {agent: step, on_error: continue}\n"
            "  b: {agent: step, with: {value: '${¶errors.a.mesage}'}}",
            "  - START -> a -> b -> END",
        ),
    ),
    "a timeout without a time": (["missing-key"], workflow("  a: {agent: step, timeout: ¶{}}")),
    "a timeout of an unknown kind": (
        ["unknown-key"],
        workflow("  a: {agent: step, timeout: {¶total: 1s}}"),
    ),
    "an idle timeout that is no time": (
        ["bad-value"],
        workflow("  a: {agent: step, timeout: {idle: ¶soon}}"),
    ),
    "a default that leads errors to an unknown node": (
        ["unknown-node"],
        workflow(AB, "  - START -> a -> b -> END", "defaults: {on_error: {node: ¶c}}\n"),
    ),
    "a default that leads errors back": (
        ["unbounded-loop"],
        workflow(
            ABC, "  - START -> a -> END\n  - b -> c -> END", "defaults: {on_error: {node: ¶b}}\n"
        ),
    ),
    "a default that leads errors on without edges": (
        ["error-node-derived"],
        workflow(AB, rest="defaults: {on_error: {node: ¶b}}\n"),
    ),
    "a default that is no policy for errors": (
        ["bad-value"],
        workflow(A, rest="defaults: {on_error: ¶ignore}\n"),
    ),
    "an unknown default": (["unknown-key"], workflow(A, rest="defaults: {¶limit: 3}\n")),
    "a default that is no time": (["bad-value"], workflow(A, rest="defaults: {timeout: ¶soon}\n")),
    "an unknown policy": (["bad-value"], workflow("  a: {agent: step, on_error: ¶ignore}")),
    # ---- agents and their inputs ----
    "an unknown agent": (["unknown-agent"], workflow("  a: {agent: ¶stepp}")),
    "a missing input": (["missing-input"], workflow("  ¶a: {agent: outliner, writes: x}")),
    "a missing input beside others": (
        ["missing-input"],
        workflow("  a: {agent: outliner, ¶with: {count: 3}}"),
    ),
    "an unknown input": (
        ["unknown-input"],
        workflow("  a: {agent: outliner, with: {topic: x, ¶cuont: 3}}"),
    ),
    "a literal of another type": (
        ["wrong-input"],
        workflow("  a: {agent: outliner, with: {topic: x, count: ¶many}}"),
    ),
    "a list for a text": (
        ["wrong-input-type"],
        workflow("  a: {agent: outliner, with: {topic: ¶['${t}']}}", rest="input: {t: string}\n"),
    ),
    "a reference of another type": (
        ["wrong-input-type"],
        workflow("  a: {agent: outliner, with: {topic: ¶'${t}'}}", rest="input: {t: integer}\n"),
    ),
    "an answer of another type": (
        ["wrong-input-type"],
        workflow(
            "  a: {agent: outliner, with: {topic: x}, writes: o}\n"
            "  b: {agent: counter, with: {text: ¶'${o.sections}'}}"
        ),
    ),
    "a broken agent of the file's own": (
        ["agent"],
        workflow("  a: {agent: mine}") + "agents: {mine: {prompt: ¶3}}\n",
    ),
    # ---- references ----
    "an unknown reference": (
        ["unknown-reference"],
        workflow("  a: {agent: step, with: {value: '${¶topc}'}}", rest="input: {topic: string}\n"),
    ),
    "an unknown field": (
        ["unknown-field"],
        workflow(
            "  a: {agent: outliner, with: {topic: x}, writes: o}\n"
            "  b: {agent: step, with: {value: 'Title: ${¶o.titel}'}}"
        ),
    ),
    "a field of a number": (
        ["unknown-field"],
        workflow(
            "  a: {agent: counter, with: {text: x}, writes: n}\n"
            "  b: {agent: step, with: {value: '${¶n.value}'}}"
        ),
    ),
    "an unknown field of an item": (
        ["unknown-field"],
        workflow(
            "  a: {agent: outliner, with: {topic: x}, writes: o}\n"
            "  b: {agent: step, each: '${o.sections}', as: s, with: {value: '${¶s.headin}'}}"
        ),
    ),
    "a name that nobody writes": (
        ["surely-null"],
        workflow("  a: {agent: step, with: {value: '${¶t}'}}", rest="state: {t: string}\n"),
    ),
    "a name that is written later": (
        ["surely-null"],
        workflow(
            "  a: {agent: step, with: {value: '${¶y}'}, writes: x}\n" + B,
            "  - START -> a -> b -> END",
        ),
    ),
    "a name of the other branch": (
        ["surely-null"],
        workflow(
            "  a: {agent: step, with: {value: '${¶y}'}, writes: x}\n" + B,
            "  - START -> [a, b] -> END",
        ),
    ),
    "a path that is null the first time": (
        ["null-first-time"],
        workflow(
            "  a: {agent: step, with: {value: '${¶y.z}'}, writes: x}\n" + B,
            "  - START -> a -> b\n  - {from: b, to: [{node: a, at_most: 1}, END]}",
        ),
    ),
    "a condition on what the node's successor writes": (
        ["surely-null"],
        workflow(
            AB, "  - START -> a\n  - {from: a, to: [{node: b, when: ¶y == 1}, END]}\n  - b -> END"
        ),
    ),
    "a condition at the start on what a node writes": (
        ["surely-null"],
        workflow(
            AB,
            "  - {from: START, to: [{node: a, when: '¶x == 1'}, b]}\n  - '[a, b] -> END'",
        ),
    ),
    "an output that nobody writes": (
        ["unknown-reference"],
        workflow(A) + "output: {r: '${¶xx}'}\n",
    ),
    "an item's name outside": (
        ["unknown-reference"],
        workflow(
            "  a: {agent: step, each: '${[1, 2]}', as: s, with: {value: '${s}'}, writes: x}\n"
            "  b: {agent: step, with: {value: '${¶s} ${x}'}}"
        ),
    ),
    "an item that hides a name": (
        ["hidden-name"],
        workflow(
            "  a: {agent: step, each: '${l}', as: ¶l, with: {value: '${l}'}, writes: x}",
            rest="input: {l: array}\n",
        ),
    ),
    "errors without on_error": (
        ["surely-null"],
        workflow("  a: {agent: step, with: {value: '${¶errors.a}'}}"),
    ),
    # ---- expressions ----
    "an expression that ends too early": (
        ["bad-expression"],
        workflow("  a: {agent: step, with: {value: '${t +¶}'}}"),
    ),
    "an expression without an end": (
        ["bad-expression"],
        workflow("  a: {agent: step, with: {value: 'x ¶${t'}}"),
    ),
    "an empty expression": (
        ["bad-expression"],
        workflow("  a: {agent: step, with: {value: '¶${}'}}"),
    ),
    "an unknown function": (
        ["bad-expression"],
        workflow("  a: {agent: step, with: {value: '${1 + ¶sise([])}'}}"),
    ),
    "a nested comprehension": (
        ["bad-expression"],
        workflow("  a: {agent: step, with: {value: '${[1].map(x, [2].¶map(y, x))}'}}"),
    ),
    "an expression in a block of text": (
        ["bad-expression"],
        workflow(
            "  a:\n    agent: step\n    with:\n      value: |\n        One\n        two ${1 ¶2}"
        ),
    ),
    "a condition in braces": (
        ["bad-expression"],
        workflow(
            AB,
            "  - START -> a\n  - {from: a, to: [{node: b, when: ¶'${x == 1}'}, END]}\n  - b -> END",
        ),
    ),
    "a bad condition": (
        ["bad-expression"],
        workflow(
            AB, "  - START -> a\n  - {from: a, to: [{node: b, when: x ¶= 1}, END]}\n  - b -> END"
        ),
    ),
    # ---- each ----
    "each without an expression": (["bad-each"], workflow("  a: {agent: step, each: ¶items}")),
    "each over a text": (
        ["each-not-list"],
        workflow("  a: {agent: step, each: '${¶t}'}", rest="input: {t: string}\n"),
    ),
    "each over an answer that is a number": (
        ["each-not-list"],
        workflow(
            "  a: {agent: counter, with: {text: x}, writes: n}\n  b: {agent: step, each: '${¶n}'}"
        ),
    ),
    # ---- edges ----
    "edges that are null": (["no-edges"], "name: flow\nnodes:\n" + A + "¶edges:\n"),
    "edges that are a mapping": (["wrong-type"], "name: flow\nnodes:\n" + A + "edges: ¶{a: b}\n"),
    "an edge that is a number": (["wrong-type"], workflow(A, "  - ¶3")),
    "an edge to nowhere": (["bad-edge"], workflow(A, "  - ¶START")),
    "an arrow without a node": (
        ["bad-edge"],
        workflow(A, "  - START -> -> a -> END").replace("-> ->", "->¶ ->"),
    ),
    "two nodes without a comma": (["bad-edge"], workflow(AB, "  - START -> ¶a b -> END")),
    "an edge to START": (["bad-edge"], workflow(A, "  - START -> a -> ¶START")),
    "an edge out of END": (["bad-edge"], workflow(AB, "  - START -> a -> ¶END -> b")),
    "an unknown node": (["unknown-node"], workflow(AB, "  - START -> a -> ¶bb -> END")),
    "an unknown node in a list": (["unknown-node"], workflow(AB, "  - START -> [a, ¶bb] -> END")),
    "an unknown node in a choice": (
        ["unknown-node", "unknown-node"],
        workflow(A, "  - START -> a\n  - {from: ¶aa, to: [{node: ¶bb, when: x == 1}, END]}"),
    ),
    "a choice without a node": (
        ["missing-key"],
        workflow(A, "  - START -> a\n  - {from: a, to: [¶{when: x == 1}, END]}"),
    ),
    "a choice without from": (["missing-key"], workflow(A, "  - START -> a\n  - ¶{to: END}")),
    "a choice of nothing": (["bad-edge"], workflow(A, "  - START -> a\n  - {from: a, to: ¶[]}")),
    "an unknown key of an entry": (
        ["unknown-key"],
        workflow(A, "  - START -> a\n  - {from: a, to: [{node: a, ¶atmost: 3}, END]}"),
    ),
    "at_most below one": (
        ["bad-value"],
        workflow(A, "  - START -> a\n  - {from: a, to: [{node: a, at_most: ¶0}, END]}"),
    ),
    "a choice without a default": (
        ["no-default"],
        workflow(
            AB, "  - START -> a\n  - {from: a, to: [{node: ¶b, when: 'x == 1'}]}\n  - b -> END"
        ),
    ),
    "a loop without a way on": (
        ["no-default"],
        workflow(A, "  - START -> a\n  - {from: a, to: {node: ¶a, at_most: 3}}"),
    ),
    "an entry after the default": (
        ["never-taken"],
        workflow(ABC, "  - START -> a\n  - {from: a, to: [b, ¶c]}\n  - '[b, c] -> END'"),
    ),
    "a loop with no bound": (
        ["unbounded-loop"],
        workflow(AB, "  - START -> a -> b -> ¶a\n  - b -> END"),
    ),
    "a node that leads to itself": (
        ["unbounded-loop"],
        workflow(A, "  - START -> a -> ¶a\n  - a -> END"),
    ),
    "references that go round": (
        ["unbounded-loop"],
        workflow(
            "  a: {agent: step, with: {value: ¶'${y}'}, writes: x}\n"
            "  b: {agent: step, with: {value: '${x}'}, writes: y}"
        ),
    ),
    "no edges and two writers": (
        ["several-writers"],
        workflow("  a: {agent: step, writes: x}\n  b: {agent: step, writes: ¶x}"),
    ),
    "at_most on an edge that does not lead back": (
        ["no-loop"],
        workflow(
            AB, "  - START -> a\n  - {from: a, to: [{node: b, ¶at_most: 2}, END]}\n  - b -> END"
        ),
    ),
    "no edge out of START": (["no-start"], "name: flow\nnodes:\n" + A + "¶edges:\n  - a -> END\n"),
    "an unreachable node": (
        ["unreachable"],
        workflow(A + "  ¶b: {agent: step}", "  - START -> a -> END\n  - b -> END"),
    ),
    "several unreachable nodes in a row": (
        ["unreachable"],
        workflow(
            A + "  ¶b: {agent: step}\n  c: {agent: step}",
            "  - START -> a -> END\n  - b -> c -> END",
        ),
    ),
    "a node that leads nowhere": (
        ["no-end"],
        workflow(A + "  ¶b: {agent: step}", "  - START -> [a, b]\n  - a -> END"),
    ),
    "two parallel nodes that write one name": (
        ["parallel-writes"],
        workflow(
            "  a: {agent: step, writes: x}\n  b: {agent: step, writes: ¶x}",
            "  - START -> [a, b] -> END",
        ),
    ),
    "a loop beside the other arm that writes one name": (
        ["parallel-writes"],
        workflow(
            "  a: {agent: step, writes: x}\n  b: {agent: step}\n  c: {agent: step}\n"
            "  d: {agent: step, writes: ¶x}\n  e: {agent: step}",
            "  - START -> a -> [b, c]\n  - {from: b, to: [{node: a, at_most: 2}, e]}\n"
            "  - c -> d -> e -> END",
        ),
    ),
    "a loop that leaves a fork while the other arm ends": (
        ["loop-leaves-fork"],
        workflow(
            ABC,
            "  - START -> a -> [b, c]\n  - {from: b, to: [{node: ¶a, at_most: 2}, END]}\n  - c -> END",
        ),
    ),
    "two arms that loop": (
        ["loops-together"],
        workflow(
            ABC + "  d: {agent: step}",
            "  - START -> a -> [b, c]\n  - {from: b, to: [{node: ¶a, at_most: 2}, d]}\n"
            "  - {from: c, to: [{node: a, at_most: 2}, d]}\n  - d -> END",
        ),
    ),
    # ---- several at once, and what is only suspicious ----
    "mistakes of every kind at once": (
        ["unknown-agent", "unknown-input", "unknown-key", "unknown-reference", "unknown-node"],
        workflow(
            "  a: {agent: ¶outlinr, writes: x}\n"
            "  b: {agent: counter, with: {text: hi, ¶txt: hi}, ¶wirtes: y}\n"
            "  c: {agent: step, with: {value: '${¶nothing}'}}",
            "  - START -> a -> b -> c -> ¶d -> END",
        ),
    ),
    "an unused input": (["unused-input"], workflow(A, rest="input: {¶t: string}\n")),
    "an unused name": (
        ["unused-write"],
        workflow("  a: {agent: step, writes: ¶x}") + "output: {done: yes}\n",
    ),
    "an edge said twice": (
        ["repeated-edge"],
        workflow(AB, "  - START -> a -> b -> END\n  - a -> ¶b"),
    ),
    "a default for what is always null": (
        ["always-null"],
        workflow(
            "  a: {agent: step, with: {value: '${default(¶y, 1)}'}, writes: x}\n" + B,
            "  - START -> a -> b -> END",
        ),
    ),
}
