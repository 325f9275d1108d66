"""`${…}` in text: what is a reference, what it becomes, and that values stay values."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ucop.agents.text.paths import is_path, path_steps, path_text
from ucop.agents.text.template import (
    Hole,
    PlainText,
    TemplateError,
    fill,
    parse,
    path_lookup,
    resolve,
    templates,
)

NAMES: dict[str, Any] = {
    "topic": "Tea",
    "count": 3,
    "nothing": None,
    "yes": True,
    "outline": {"title": "T", "sections": [{"text": "a"}, {"text": "ü"}]},
}


def render(text: str) -> Any:
    return parse(text).render(path_lookup(NAMES))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no reference, $5 and {a}", "no reference, $5 and {a}"),
        ("${topic}", "Tea"),
        ("${ count }", 3),
        ("${nothing}", None),
        ("${outline.sections}", [{"text": "a"}, {"text": "ü"}]),
        ("${outline.sections[1].text}", "ü"),
        ("About ${topic}: ${count} and ${yes}", "About Tea: 3 and true"),
        ("as JSON ${outline.sections}", 'as JSON [{"text": "a"}, {"text": "ü"}]'),
        ("$${topic} is ${topic}", "${topic} is Tea"),
        ("$${topic}", "${topic}"),
        ("", ""),
    ],
)
def test_references_become_their_values(text: str, value: Any) -> None:
    assert render(text) == value


def test_a_whole_reference_keeps_its_type_and_a_prompt_is_always_text() -> None:
    assert parse("${count}").whole == Hole("count", 2)
    assert parse("${count}").render_text(path_lookup(NAMES)) == "3"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${topik}", "there is no value named 'topik'; did you mean 'topic'?"),
        ("${outline.titel}", "outline has no 'titel'; did you mean 'title'?"),
        ("${outline.sections[2]}", r"outline\.sections has only 2 items"),
        ("${topic.x}", "topic is a text, so it has no field 'x'"),
        ("${topic[0]}", "topic is a text, not a list"),
        ("${nothing.x}", "nothing is null"),
        ("x ${nothing}", "nothing is null, which cannot stand inside text"),
        ("${a + b}", "is not a plain path"),
        ("${", "no closing }"),
        ("a ${b 'c}", "no closing }"),
        ("${ }", "nothing stands between"),
    ],
)
def test_what_cannot_be_filled_says_what_is_there(text: str, message: str) -> None:
    with pytest.raises(TemplateError, match=message):
        render(text)


def test_an_error_knows_where_it_is() -> None:
    with pytest.raises(TemplateError) as caught:
        parse("ab ${x} ${")
    assert caught.value.offset == 8


def test_braces_and_quotes_belong_to_the_expression() -> None:
    template = parse("""a ${ {"k": "}"}.k } b ${f('\\'}')}""")
    assert [r.text for r in template.references] == ["""{"k": "}"}.k""", """f('\\'}')"""]
    assert [template.text[r.offset :][: len(r.text)] for r in template.references] == [
        r.text for r in template.references
    ]


def test_a_filled_value_is_never_read_as_a_template() -> None:
    evil = {"topic": "${secret} $${x}", "secret": "s"}
    lookup = path_lookup(evil)
    assert parse("About ${topic}").render(lookup) == "About ${secret} $${x}"
    assert fill({"a": ["${topic}"]}, lookup) == {"a": ["${secret} $${x}"]}


def test_data_is_filled_in_depth_and_keys_stay() -> None:
    assert fill({"${x}": ["${count}", 1, {"a": "n ${count}"}]}, path_lookup(NAMES)) == {
        "${x}": [3, 1, {"a": "n 3"}]
    }


def test_references_in_data_are_found_with_their_paths() -> None:
    found = templates({"a": ["x", "${b}"], "c": {"d": "e ${f}"}})
    assert [(path, t.references[0].text) for path, t in found] == [
        (("a", 1), "b"),
        (("c", "d"), "f"),
    ]


@pytest.mark.parametrize("text", ["a", "a.b", "a[0]", "_a.b[10].c"])
def test_a_path_is_a_path_and_is_written_as_it_was_read(text: str) -> None:
    assert is_path(text)
    assert path_text(path_steps(text)) == text


def test_a_name_inside_a_path_that_is_no_plain_name_is_quoted() -> None:
    assert path_text(("a-b", "$ref", 0, 'c "d"')) == 'a-b.$ref[0]["c \\"d\\""]'


@pytest.mark.parametrize(
    "text", ["", "a-b", "a b", "1a", "a.", "a[x]", "a..b", "true", "a()", "a["]
)
def test_anything_else_is_no_path(text: str) -> None:
    assert not is_path(text)


@given(st.text(max_size=60))
def test_escaped_text_comes_back_as_it_was(text: str) -> None:
    escaped = text.replace("${", "$${")
    if "$$${" not in escaped:  # a dollar before ${ cannot be told from the escape
        assert parse(escaped).render(path_lookup({})) == text


@given(
    st.lists(
        st.sampled_from(["$", "{", "}", "a", "'", '"', "\\", " ", ".", "$${", "${a}"]), max_size=20
    )
)
def test_every_text_is_cut_without_loss_or_refused(pieces: list[str]) -> None:
    text = "".join(pieces)
    with suppress(TemplateError):
        for part in parse(text).parts:
            assert isinstance(part, PlainText) or text[part.offset :].startswith(part.text)


@given(st.text(max_size=30), st.text(max_size=30))
def test_text_around_and_inside_a_reference_arrives_unchanged(before: str, value: str) -> None:
    literal = before.replace("$", "")
    assert parse(f"{literal}|${{v}}").render(path_lookup({"v": value})) == f"{literal}|{value}"


def test_a_path_resolves_without_a_template() -> None:
    assert resolve("outline.title", NAMES) == "T"
