"""Expressions: plain paths, `default`, and CEL over a state of JSON."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from ucop.graphs.errors import ExpressionError
from ucop.graphs.expressions.cel import compile_expression
from ucop.graphs.expressions.templates import compile_template
from ucop.graphs.expressions.tokens import BadExpression

STATE: dict[str, Any] = {
    "topic": "tea",
    "n": 2,
    "half": 0.5,
    "nothing": None,
    "yes": True,
    "review": {"score": 5, "zeal": {"b": 1, "a": 2}, "remarks": None},
    "rows": [{"ok": True, "z": 1, "a": 2}, {"ok": False}],
    "map": {"b": 1, "a": 2, "c d": 3},
    "empty": [],
}


def value(text: str) -> Any:
    return compile_expression(text)(STATE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("topic", "tea"),
        ("review.score", 5),
        ("review.zeal", {"b": 1, "a": 2}),
        ("rows[0].z", 1),
        ("map['c d']", 3),
        ("review.score < 7", True),
        ("review.score < 7.5 && yes", True),
        ("n * 3 + 1", 7),
        ("double(n) * half", 1.0),
        ("topic == 'tea' ? 'hot' : 'cold'", "hot"),
        ("size(rows) > 1", True),
        ("'t' + topic", "ttea"),
        ("topic.startsWith('t')", True),
        ("2 in [1, 2]", True),
        ("'b' in map", True),
        ("nothing == null", True),
        ("nothing == null || nothing.x > 1", True),
        ("nothing != null && nothing.x > 1", False),
        ("has(review.score)", True),
        ("has(review.nope)", False),
        ("has(nothing.x)", False),
        ("default(review.remarks, 'none')", "none"),
        ("default(review.score, 0)", 5),
        ("default(nothing.x.y, [])", []),
        ("default(nothing, 1) + 1", 2),
        ("default(nothing, default(review.remarks, topic))", "tea"),
        ("size(default(nothing, rows))", 2),
        ("default(nothing, '') == ''", True),
        ("rows[n - 1].ok", False),
        ("rows.exists(r, r.ok)", True),
        ("rows.all(r, has(r.z) ? r.z > 0 : true)", True),
        ("rows.map(r, r.ok)", [True, False]),
        ("[3, 4].map(x, x * n)", [6, 8]),
        ("topic == '}'", False),
        ('"//" + topic', "//tea"),
        ("n > 1 // a remark", True),
    ],
)
def test_given_an_expression_then_it_has_its_value(text: str, expected: Any) -> None:
    found = value(text)
    assert found == expected
    assert type(found) is type(expected)


def test_given_a_plain_path_or_default_then_the_order_of_a_map_is_kept() -> None:
    assert list(value("map")) == ["b", "a", "c d"]
    assert list(value("default(nothing, map)")) == ["b", "a", "c d"]


def test_given_a_comprehension_over_a_map_then_it_goes_in_stored_order_in_every_process() -> None:
    code = (
        "from ucop.graphs.expressions.cel import compile_expression as c;"
        "m = {k: 1 for k in 'qwertyuiopasdfgh'};"
        "rows = [dict.fromkeys('zyxab', i) for i in range(3)];"
        "s = {'m': m, 'rows': rows};"
        "print(''.join(c('m.map(k, k)')(s)), [''.join(r) for r in c('rows.filter(r, r.z > 0)')(s)])"
    )
    outputs = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
        for _ in range(2)
    }
    assert outputs == {"qwertyuiopasdfgh ['zyxab', 'zyxab']\n"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nope", "there is no 'nope' in the state"),
        ("review.scor", "review has no 'scor'; did you mean 'score'?"),
        ("nothing.x", "nothing is null"),
        ("nothing.x > 1", "nothing.x: nothing is null"),
        ("topic.x", "topic.x: topic is a text"),
        ("rows[9]", "rows has only 2 items"),
        ("n * 1.5", "these types do not go together"),
        ("nothing < 3", "these types do not go together"),
        ("1 / 0", "divi"),
        ("rows.map(r, r.nope)", "there is no 'nope'"),
        ("9223372036854775807 + n", "verflow"),
        ("timestamp('2024-01-01T00:00:00Z')", "make it a string"),
    ],
)
def test_given_a_state_that_does_not_fit_then_the_error_tells_what_is_wrong(
    text: str, told: str
) -> None:
    with pytest.raises(ExpressionError) as caught:
        value(text)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("text", "offset", "told"),
    [
        ("", 0, "empty"),
        ("a +", 3, "ends too early"),
        ("a b", 2, "'b' does not belong here"),
        ("1 +* 2", 3, "'*' does not belong here"),
        ("x == 'abc", 5, "cannot be read"),
        ("1 + foo(2)", 4, "there is no function 'foo'"),
        ("a.uper()", 2, "there is no function 'uper'"),
        ("[1].map(x, [2].map(y, x))", 15, "inside another comprehension"),
        ("a.exists(x, b.all(y, y > x))", 14, "inside another comprehension"),
        ("(yes ? a : b).map(x, x)", 14, "needs a plain path or a list"),
        ("f == {'a': 1}", 5, "objects cannot be written"),
        ("default(a + 1, 2)", 0, "takes a plain path"),
        ("default(a)", 0, "takes a plain path"),
        ("default(a, b +)", 14, "')' does not belong here"),
        ("a.map(x, default(x.y, 1))", 9, "takes a plain path"),
        ("[1].map(x, x).map(x, x).map(x, x).map(x, x).map(x, x)", 48, "at most 4"),
        ("1 +" + " " * 2_000 + "1", 0, "at most 2000 characters"),
        ("(" * 500 + "1" + ")" * 500, 0, ""),
    ],
)
def test_given_a_bad_expression_then_it_is_refused_with_its_place(
    text: str, offset: int, told: str
) -> None:
    with pytest.raises(BadExpression) as caught:
        compile_expression(text)
    assert told in str(caught.value)
    if told:
        assert caught.value.offset == offset


def test_given_an_expression_then_it_knows_what_it_refers_to() -> None:
    found = compile_expression("default(review.x, topic) == 'a' && rows.exists(r, r.ok && n > 1)")
    assert [(r.text, r.offset, r.guarded) for r in found.references] == [
        ("review.x", 8, True),
        ("topic", 18, False),
        ("rows", 35, False),
        ("n", 58, False),
    ]
    assert not found.plain
    assert compile_expression("a.b[0]").plain


def test_given_a_big_state_then_only_what_is_named_is_converted() -> None:
    class Untouchable(dict[str, Any]):
        def __iter__(self) -> Any:
            raise AssertionError("converted")

        items = keys = __iter__

    state = {"n": 1, "big": Untouchable(x=Untouchable(a=1), y=2)}
    assert compile_expression("n > 0 && big.y == 2")(state) is True


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("About ${topic}", "About tea"),
        ("${n}", 2),
        ("${n}!", "2!"),
        ("${yes} ${half}", "true 0.5"),
        ("Map: ${map}", 'Map: {"b": 1, "a": 2, "c d": 3}'),
        ("$${topic}", "${topic}"),
        ({"a": ["${n}", "${rows[1]}"], "b": 3}, {"a": [2, {"ok": False}], "b": 3}),
        ("${topic == 'tea' ? '}' : '{'}", "}"),
    ],
)
def test_given_a_template_then_whole_values_keep_their_type(template: Any, filled: Any) -> None:
    assert compile_template(template)(STATE) == filled


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("string(rows)", "string() cannot take a value of the type that it is given here; inside"),
        ("int(rows)", "int() cannot take a value of the type that it is given here"),
        ("n.startsWith('a')", "startsWith() cannot take a value of the type"),
    ],
)
def test_given_a_function_and_what_it_cannot_take_then_that_is_said(text: str, told: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text)(STATE)
    assert str(caught.value).startswith(told)


def test_given_null_in_a_longer_text_then_it_is_an_error() -> None:
    with pytest.raises(ExpressionError, match="nothing is null"):
        compile_template("About ${nothing}")(STATE)


def test_given_text_of_a_value_then_it_is_never_evaluated() -> None:
    assert compile_template("${t} and ${t}")({"t": "${n}"}) == "${n} and ${n}"
