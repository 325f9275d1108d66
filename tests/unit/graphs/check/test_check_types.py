"""Types followed along the references: what surely does not fit is told, and nothing else is."""

from __future__ import annotations

import os
from enum import Enum
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from tests.support.broken import findings_of, marked, workflow
from ucop.agents.spec.function import agent
from ucop.agents.spec.registry import Registry
from ucop.agents.text.validation import validate
from ucop.graphs.errors import ExpressionError
from ucop.graphs.expressions.cel import compile_expression
from ucop.graphs.expressions.tokens import BadExpression
from ucop.graphs.types.deduction import Deduction
from ucop.graphs.types.fits import misfit
from ucop.graphs.types.shapes import Shape


class Tone(Enum):
    plain = "plain"
    warm = "warm"


class Author(BaseModel):
    name: str
    age: int | None = None


class Post(BaseModel):
    title: str
    score: int
    kind: Literal["article", "note"]
    authors: list[Author]
    by_year: dict[str, int]


@agent("step")
def step(value: Any = None) -> Any:
    return value


@agent("poster")
def poster(topic: str = "") -> Post:
    raise NotImplementedError


@agent("reader")
def reader(
    text: str = "",
    count: int = 0,
    share: float = 0.0,
    tone: Tone = Tone.plain,
    kind: Literal["note", "draft"] = "note",
    names: list[str] | None = None,
    authors: list[Author] | None = None,
    author: Author | None = None,
    years: dict[str, str] | None = None,
    number_or_text: int | str = 0,
) -> str:
    raise NotImplementedError


REGISTRY = Registry.of(step, poster, reader)

INPUT = """input:
  n: integer
  f: number
  t: string
  k: {type: string, enum: [article, post]}
  s: {type: integer, minimum: 1, maximum: 10}
  l: {type: array, items: integer}
  o: {type: object, properties: {a: string, b: {type: [integer, "null"]}},
      required: [a], additionalProperties: false}
  b: boolean
  u: {}
"""
USED = (
    "output: ['${n}', '${f}', '${t}', '${k}', '${s}', '${l}', '${o}', '${b}', '${u}', '${post}']\n"
)


def reads(inputs: str, before: str = "  p: {agent: poster, writes: post}\n") -> str:
    """A reader of what a typed answer and typed inputs give."""
    return workflow(f"{before}  r: {{agent: reader, with: {{{inputs}}}}}", rest=INPUT) + USED


def when(condition: str) -> str:
    """A branch on typed inputs."""
    nodes = "  p: {agent: poster, writes: post}\n  a: {agent: step, with: {value: '${post}'}}"
    edges = f'  - START -> p\n  - {{from: p, to: [{{node: a, when: "{condition}"}}, END]}}\n'
    return workflow(nodes, edges + "  - a -> END", INPUT) + USED


WRONG: dict[str, tuple[list[str], str]] = {
    # ---- an answer's parts against its reader's ----
    "a field of another type": (["wrong-input-type"], reads("text: ¶'${post.score}'")),
    "a text for a number": (["wrong-input-type"], reads("share: ¶'${t}'")),
    "a list for an object": (["wrong-input-type"], reads("author: ¶'${post.authors}'")),
    "an object for a list": (["wrong-input-type"], reads("authors: ¶'${post}'")),
    "a list of other items": (["wrong-input-type"], reads("names: ¶'${l}'")),
    "a list of objects for a list of texts": (
        ["wrong-input-type"],
        reads("names: ¶'${post.authors}'"),
    ),
    "an object without a field that is needed": (["wrong-input-type"], reads("author: ¶'${o}'")),
    "a map of other values": (["wrong-input-type"], reads("text: ¶'${post.by_year}'")),
    "no member of a union": (["wrong-input-type"], reads("number_or_text: ¶'${l}'")),
    "a nullable of another type": (["wrong-input-type"], reads("text: ¶'${o.b}'")),
    "values of which none is taken": (["wrong-input-type"], reads("tone: ¶'${k}'")),
    "a fixed text that is not taken": (["wrong-input"], reads("tone: ¶cold")),
    "values of which some are not taken": (["may-not-fit"], reads("kind: ¶'${post.kind}'")),
    "a condition's outcome for a text": (["wrong-input-type"], reads("text: ¶'${n > 3}'")),
    "a size for a text": (["wrong-input-type"], reads("text: ¶'${size(l)}'")),
    "a default of the same wrong type": (["wrong-input-type"], reads("text: ¶'${default(n, 3)}'")),
    "either way wrong": (["wrong-input-type"], reads("count: ¶'${b ? t : k}'")),
    "texts of a list for numbers": (["wrong-input-type"], reads("text: ¶'${l.map(i, i + 1)}'")),
    # ---- with, followed into its parts ----
    "a part of a list": (["wrong-input-type"], reads("names: [x, ¶'${n}']")),
    "a part of an object": (
        ["wrong-input-type"],
        workflow(
            "  a: {agent: mine, with: {who: {name: '${t}', age: ¶'${t}'}}}",
            rest="input: {t: string}\n",
        )
        + "agents:\n  mine:\n    prompt: '${who}'\n    input:\n      who: {type: object, "
        "properties: {name: string, age: integer}, required: [name, age], "
        "additionalProperties: false}\n",
    ),
    "a field that the object does not have, and one that is missing": (
        ["missing-input", "unknown-input"],
        workflow("  a: {agent: mine, with: {who: ¶{¶nmae: '${t}'}}}", rest="input: {t: string}\n")
        + "agents:\n  mine:\n    prompt: '${who}'\n    input:\n      who: {type: object, "
        "properties: {name: string}, required: [name], additionalProperties: false}\n",
    ),
    "too few items": (
        ["wrong-input"],
        workflow("  a: {agent: mine, with: {l: ¶['${t}']}}", rest="input: {t: string}\n")
        + "agents: {mine: {prompt: '${l}', input: {l: {type: array, minItems: 2}}}}\n",
    ),
    "a text in the place of an object": (
        ["wrong-input-type"],
        workflow("  a: {agent: mine, with: {o: ¶'x ${t}'}}", rest="input: {t: string}\n")
        + "agents: {mine: {prompt: '${o}', input: {o: object}}}\n",
    ),
    # ---- items of each ----
    "an item of another type": (
        ["wrong-input-type"],
        workflow(
            "  a: {agent: reader, each: '${l}', as: i, with: {text: ¶'${i}'}}",
            rest="input: {l: {type: array, items: integer}}\n",
        ),
    ),
    "a field of an item of another type": (
        ["wrong-input-type"],
        workflow(
            "  p: {agent: poster, writes: post}\n"
            "  a: {agent: reader, each: '${post.authors}', as: who, with: {count: ¶'${who.name}'}}"
        ),
    ),
    "the answers of each": (
        ["wrong-input-type"],
        workflow(
            "  p: {agent: poster, each: '${[1, 2]}', writes: posts}\n"
            "  a: {agent: reader, with: {names: ¶'${posts}'}}"
        ),
    ),
    "each over a condition": (
        ["each-not-list"],
        workflow("  a: {agent: step, each: '${¶n > 3}'}", rest="input: {n: integer}\n"),
    ),
    "each over an enum": (
        ["each-not-list"],
        workflow("  p: {agent: poster, writes: post}\n  a: {agent: step, each: '${¶post.kind}'}"),
    ),
    # ---- answers and the state ----
    "an answer that its name does not take": (
        ["wrong-write"],
        workflow("  p: {agent: poster, writes: ¶x}", rest="state: {x: string}\n"),
    ),
    "a sum of texts": (
        ["wrong-write"],
        workflow(
            "  p: {agent: reader, writes: ¶x}", rest="state: {x: {type: number, merge: sum}}\n"
        ),
    ),
    "a list extended by a text": (
        ["wrong-write"],
        workflow(
            "  p: {agent: reader, writes: ¶x}", rest="state: {x: {type: array, merge: extend}}\n"
        ),
    ),
    "an item that the list does not take": (
        ["wrong-write"],
        workflow(
            "  p: {agent: reader, writes: ¶x}",
            rest="state: {x: {type: array, items: integer, merge: append}}\n",
        ),
    ),
    # ---- conditions ----
    "a text compared with a number": (["type-mismatch"], when("¶t < 3")),
    "a number compared with a text": (["type-mismatch"], when("¶n > 'a'")),
    "a field compared with a text": (["type-mismatch"], when("¶post.score < 'seven'")),
    "a nullable compared with a text": (["type-mismatch"], when("b && ¶o.b < 'x'")),
    "a condition that is a text": (["not-a-condition"], when("t").replace('"t"', '¶"t"')),
    "a condition that is a number": (
        ["not-a-condition"],
        when("size(l)").replace('"size', '¶"size'),
    ),
    "a number as a condition": (["type-mismatch"], when("b && ¶n")),
    "the opposite of a number": (["type-mismatch"], when("!¶n")),
    "the size of a number": (["type-mismatch"], when("size(¶n) > 2")),
    "a text in a text": (["type-mismatch"], when("'a' in ¶t")),
    "a list that contains": (["type-mismatch"], when("¶l.contains('a')")),
    "a text that starts with a number": (["type-mismatch"], when("t.startsWith(¶n)")),
    "a number and a text": (["type-mismatch"], when("¶n + t == 'x'")),
    "a comprehension over a number": (["type-mismatch"], when("¶n.exists(i, i > 1)")),
    "a comprehension that compares": (["type-mismatch"], when("l.exists(i, ¶i > 'a')")),
    "one arm of a choice": (["type-mismatch"], when("b ? ¶t < 1 : false")),
    "two mistakes in one condition": (
        ["type-mismatch", "type-mismatch"],
        when("¶t < 1 || ¶n > 'a'"),
    ),
    "a value that an enum does not have": (["never-taken"], when("¶k == 'artcle'")),
    "values that an enum does not have": (["never-taken"], when("¶k in ['artcle', 'x']")),
    "a literal that the answer does not have": (["never-taken"], when("¶post.kind == 'post'")),
    "a number out of bounds": (["never-taken"], when("¶s > 10")),
    "a number never equal to a text": (["never-taken"], when("¶n == 'a'")),
    "a text that is never null": (["never-taken"], when("b && ¶t == null")),
    "a condition that never holds": (
        ["never-taken"],
        when("false && b").replace('"false', '¶"false'),
    ),
    "a value that an enum does not have, asked for otherwise": (
        ["constant-condition"],
        when("¶k != 'artcle'"),
    ),
    "a condition without a reference": (
        ["constant-condition"],
        when("1 > 2").replace('"1', '¶"1'),
    ),
    "whole numbers and floats": (["mixed-numbers"], when("¶n * 1.5 > 2.0")),
    # ---- the same in inputs, each and output ----
    "an input that cannot be evaluated": (["type-mismatch"], reads("text: '${¶n + t}'")),
    "each that cannot be evaluated": (
        ["type-mismatch"],
        workflow(
            "  a: {agent: step, each: '${¶n.filter(i, i > 1)}'}", rest="input: {n: integer}\n"
        ),
    ),
    "an output that cannot be evaluated": (
        ["type-mismatch"],
        workflow("  a: {agent: step}", rest="input: {n: integer}\n")
        + "output: 'Sum: ${¶n + [1]}'\n",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_given_what_does_not_fit_then_exactly_that_is_told_at_its_place(case: str) -> None:
    codes, text = WRONG[case]
    clean, places = marked(text)
    found = findings_of(clean, REGISTRY)
    shown = "\n".join(f"{f.position} {f.code}: {f.message}" for f in found)
    assert [f.code for f in found] == codes, shown
    assert [(f.position.line, f.position.column) for f in found if f.position] == places, shown


@pytest.mark.parametrize(
    ("case", "hint"),
    [
        ("a value that an enum does not have", "did you mean 'article'?"),
        ("a list that contains", "write x in l"),
        ("a text in a text", "write text.contains('part')"),
        ("whole numbers and floats", "write double(x) or int(x)"),
    ],
)
def test_given_what_does_not_fit_then_what_would_be_right_is_told(case: str, hint: str) -> None:
    text, _ = marked(WRONG[case][1])
    assert [finding.hint for finding in findings_of(text, REGISTRY)] == [hint]


RIGHT = {
    "a whole number for a number": reads("share: '${n}'"),
    "a number for a whole number, which it may be": reads("count: '${f}'"),
    "an enum for a text": reads("text: '${k}'"),
    "a text for an enum": reads("tone: '${t}'"),
    "a nullable for a text": workflow(
        "  r: {agent: reader, with: {text: '${t}'}}", rest="input: {t: {type: [string, 'null']}}\n"
    ),
    "a text for a nullable": reads("names: '${u}', author: null"),
    "anything for anything": reads("text: '${u.deep.inside}', authors: '${u}'"),
    "an empty list": reads("names: []"),
    "a member of a union": reads("number_or_text: '${t}'"),
    "the same objects": reads("authors: '${post.authors}', author: '${post.authors[0]}'"),
    "a longer text": reads("text: 'Post: ${post} ${n}'"),
    "either way right": reads("text: '${b ? t : k}'"),
    "one way right": reads("text: '${b ? t : n}'"),
    "a size": reads("count: '${size(l)}'"),
    "a default of the right type": reads("text: \"${default(o.b, '')}\""),
}
CONDITIONS = [
    "n < 3",
    "n < 3.5",
    "f > 1",
    "k == 'post'",
    "post.kind in ['note', 'x']",
    "s > 9",
    "s == 10 || b",
    "o.b == null || o.b > 3",
    "post == null",
    "has(o.b) && o.b > 3",
    "u < 3 && u < 'a'",
    "type(n) == type(t) && n < t",
    "false && n < 'a' || b",
    "l.exists(i, i > 3)",
    "l.map(i, string(i)).exists(i, i == 'a')",
    "'a' in post.by_year",
    "t.matches('a+')",
    "timestamp(t) < timestamp('2024-01-01T00:00:00Z')",
    "double(n) * 1.5 > f",
    "size(t) > 3 && size(l) > 3 && size(post) > 3",
    "default(post.score, 0) < 3",
]


@pytest.mark.parametrize("case", RIGHT)
def test_given_what_may_fit_then_nothing_is_told(case: str) -> None:
    assert findings_of(RIGHT[case], REGISTRY) == ()


@pytest.mark.parametrize("condition", CONDITIONS)
def test_given_a_condition_that_may_hold_then_nothing_is_told(condition: str) -> None:
    found = [f for f in findings_of(when(condition), REGISTRY) if "type" not in f.message]
    assert [f for f in found if f.code != "unknown-reference"] == []


# ---- what is deduced holds for every value ----

_SCHEMAS: dict[str, dict[str, Any]] = {
    "n": {"type": "integer", "minimum": -2, "maximum": 2},
    "f": {"type": "number"},
    "t": {"type": "string"},
    "k": {"enum": ["a", "b"]},
    "b": {"type": "boolean"},
    "l": {"type": "array", "items": {"type": "integer"}},
    "w": {"type": "array", "items": {"type": "string"}},
    "z": {"type": ["integer", "null"]},
    "o": {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]},
    "c": {"anyOf": [{"const": 1}, {"const": "a"}]},
    "u": {},
}
_ints, _texts = st.integers(-2, 2), st.sampled_from(["", "a", "b", "ab"])
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "n": _ints,
    "f": st.sampled_from([-1.0, 0.0, 0.5, 2.0]),
    "t": _texts,
    "k": st.sampled_from(["a", "b"]),
    "b": st.booleans(),
    "l": st.lists(_ints, min_size=1, max_size=2),
    "w": st.lists(_texts, min_size=1, max_size=2),
    "z": _ints | st.none(),
    "o": st.fixed_dictionaries({"x": _texts}),
    "c": st.sampled_from([1, "a"]),
    "u": _ints | _texts | st.none() | st.booleans(),
}
_written = (
    "1 0 -1 1.5 'a' 'b' '' true false null [] [1,2] ['a'] default(z,1) default(z,'a') has(o.x)"
)
_atoms = st.sampled_from([*_SCHEMAS, "o.x", "l[0]", "w[0]", *_written.split()])
_operators = ["&&", "||", "==", "!=", "<", "<=", ">", ">=", "in", "+", "-", "*", "%"]


def _larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    binary = st.tuples(inner, st.sampled_from(_operators), inner).map(
        lambda parts: f"({parts[0]} {parts[1]} {parts[2]})"
    )
    called = st.tuples(st.sampled_from(["size", "int", "double", "string"]), inner).map(
        lambda parts: f"{parts[0]}({parts[1]})"
    )
    unary = st.tuples(st.sampled_from("!-"), inner).map(lambda parts: f"{parts[0]}({parts[1]})")
    choice = st.tuples(inner, inner, inner).map(lambda p: f"({p[0]} ? {p[1]} : {p[2]})")
    method = st.tuples(inner, st.sampled_from(["contains", "startsWith"]), inner).map(
        lambda parts: f"({parts[0]}).{parts[1]}({parts[2]})"
    )
    over = st.tuples(
        st.sampled_from(["l", "w", "t", "[1, 2]"]),
        st.sampled_from(["exists", "all", "filter", "map"]),
        st.sampled_from(["i", "i > 1", "i == 'a'", "i + 1", "b"]),
    ).map(lambda parts: f"{parts[0]}.{parts[1]}(i, {parts[2]})")
    return binary | called | unary | choice | method | over


_expressions = st.recursive(_atoms, _larger, max_leaves=6)


@settings(max_examples=int(os.environ.get("UCOP_EXAMPLES", "500")), deadline=None)
@given(source=_expressions, scope=st.fixed_dictionaries(_VALUES))
def test_given_any_expression_then_its_value_is_among_what_was_deduced(
    source: str, scope: dict[str, Any]
) -> None:
    def look_up(path: tuple[str | int, ...]) -> tuple[Shape, ...]:
        from ucop.graphs.types.guess import descend

        shape = Shape.of(_SCHEMAS[str(path[0])])
        return descend((shape,), path[1:]) if shape else ()

    try:
        expression = compile_expression(source)
    except BadExpression:
        return
    guess = Deduction(source, look_up).run()
    try:
        value = expression(scope)
    except ExpressionError:
        return
    assert not guess.fails
    if guess.kinds:
        assert not all(validate(dict(shape.schema), value) for shape in guess.kinds), guess


_small = st.sampled_from(
    [
        {"type": "integer"},
        {"type": "number", "minimum": 1},
        {"type": "integer", "maximum": 0},
        {"type": "string", "maxLength": 1},
        {"type": "string", "minLength": 2},
        {"enum": ["a", 1, None]},
        {"const": "a"},
        {"type": ["string", "null"]},
        {"type": "boolean"},
        {},
    ]
)


def _composed(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    fields = st.dictionaries(st.sampled_from("xy"), inner, max_size=2)
    return (
        inner.map(lambda items: {"type": "array", "items": items, "minItems": 1})
        | st.tuples(fields, st.booleans(), st.booleans()).map(
            lambda made: {
                "type": "object",
                "properties": made[0],
                **({"required": sorted(made[0])} if made[1] else {}),
                **({"additionalProperties": False} if made[2] else {}),
            }
        )
        | st.lists(inner, min_size=1, max_size=2).map(lambda members: {"anyOf": members})
        | st.lists(inner, min_size=1, max_size=2).map(lambda members: {"allOf": members})
        | inner.map(lambda values: {"type": "object", "additionalProperties": values})
    )


_schemas = st.recursive(_small, _composed, max_leaves=5)
_leaf = st.sampled_from([None, True, 0, 1, 2, 1.5, "", "a", "ab"])
_json = st.recursive(
    _leaf,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xyz"), inner),
    max_leaves=5,
)


@settings(max_examples=int(os.environ.get("UCOP_EXAMPLES", "500")), deadline=None)
@given(one=_schemas, other=_schemas, values=st.lists(_json, max_size=10))
def test_given_a_value_that_fits_both_schemas_then_no_misfit_is_told(
    one: dict[str, Any], other: dict[str, Any], values: list[Any]
) -> None:
    common = [v for v in values if not validate(one, v) and not validate(other, v)]
    if common:
        assert misfit((Shape(one, one),), Shape(other, other)) is None
