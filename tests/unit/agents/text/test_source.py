"""Reading YAML with places, and refusing what a definition has no use for."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.effort import effort
from ucop.agents.errors import InvalidDefinition
from ucop.agents.finding import Finding, Position
from ucop.agents.text.excerpt import underline
from ucop.agents.text.nearest import did_you_mean, nearest
from ucop.agents.text.source import Document, read_yaml, read_yaml_file


def read(text: str) -> Document:
    return read_yaml(text, "flow.yaml")


def attempt(text: str) -> Document | InvalidDefinition:
    try:
        return read(text)
    except InvalidDefinition as error:
        return error


def refusal(text: str) -> list[tuple[str, int, int]]:
    """Code and place of every finding in a text that must be refused."""
    with pytest.raises(InvalidDefinition) as caught:
        read(text)
    return [
        (f.code, f.position.line, f.position.column) for f in caught.value.findings if f.position
    ]


def test_plain_values_follow_yaml_1_2() -> None:
    data = read(
        "{a: no, b: on, c: 0o17, d: 0777, e: 1.5e3, f: ~, g: true, h: 1:30, i: 0x1F, j: '5', k: }"
    ).data
    assert data == {
        "a": "no",
        "b": "on",
        "c": 15,
        "d": 777,
        "e": 1500.0,
        "f": None,
        "g": True,
        "h": "1:30",
        "i": 31,
        "j": "5",
        "k": None,
    }


def test_every_value_and_key_keeps_its_place() -> None:
    document = read("name: x\nnodes:\n  a: {agent: b}\n  c:\n    - one\n    - two\n")
    assert document.at(("name",)) == Position("flow.yaml", 1, 7)
    assert document.at(("name",), key=True) == Position("flow.yaml", 1, 1)
    assert document.at(("nodes", "a", "agent")) == Position("flow.yaml", 3, 14)
    assert document.at(("nodes", "c", 1)) == Position("flow.yaml", 6, 7)


def test_a_path_that_does_not_exist_has_the_place_of_what_is_around_it() -> None:
    document = read("nodes:\n  a: {agent: b}\n  t: string\n")
    assert document.at(("nodes", "a", "with", "x")) == Position("flow.yaml", 2, 3)
    assert document.at(("nodes", "t", "type")) == Position("flow.yaml", 3, 6)
    assert read("").at(("x",)) == Position("flow.yaml", 1, 1)


def test_a_fragment_of_a_text_is_found_in_its_own_lines_only() -> None:
    document = read("a: ${x}\nb: |\n  see ${y}\n  and ${x}\nc: ${x}\n")
    assert document.locate(("b",), "${x}") == Position("flow.yaml", 4, 7)
    assert document.locate(("b",), "${z}") == document.at(("b",))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: &x 1\nb: *x\n", [("anchor", 1, 4), ("alias", 2, 4)]),
        ("a: 1\nb: 2\na: 3\n", [("duplicate-key", 3, 1)]),
        ("1: a\ntrue: b\n? [c]\n: d\n", [("key", 1, 1), ("key", 2, 1), ("key", 3, 3)]),
        ("a: !!python/object:os.system x\n", [("tag", 1, 4)]),
        ("a: .nan\nb: -.inf\nc: 1e999\n", [("number", 1, 4), ("number", 2, 4), ("number", 3, 4)]),
        ("a: 9223372036854775808\n", [("number", 1, 4)]),
        ("a: 1\n---\nb: 2\n", [("documents", 2, 1)]),
        ("%YAML 1.1\n---\na: on\n", [("directive", 2, 1)]),
        ('a: "\\u0000"\n', [("character", 1, 4)]),
        ("a: [1, 2\n", [("syntax", 2, 1)]),
        ("[" * 60, [("too-deep", 1, 51)]),
        ("[" + "1," * 20_001 + "]", [("too-many", 1, 40_000)]),
    ],
)
def test_what_a_definition_has_no_use_for_is_refused_where_it_stands(
    text: str, found: list[tuple[str, int, int]]
) -> None:
    assert refusal(text) == found


def test_several_mistakes_are_told_at_once() -> None:
    assert len(refusal("a: &x 1\nb: !t 2\nb: 3\n2: c\n")) == 4


def test_a_key_that_was_given_before_names_the_first_line() -> None:
    with pytest.raises(
        InvalidDefinition, match=r"flow\.yaml:3:3: .*'a' was already given in line 2"
    ):
        read("x:\n  a: 1\n  a: 2\n")


LARGE = 256 * 1024
HOSTILE = {
    "bomb": "a: &a [x]\n" + "".join(f"b{i}: &b{i} [*a,*a]\n" for i in range(5000)),
    "one-megabyte": "a: 1\n" * 200_000,
    "lists": "[" * (LARGE - 1),
    "maps": "{" * (LARGE - 1),
    "dashes": "- " * (LARGE // 2 - 1),
    "questions": "? " * (LARGE // 2 - 1),
    "steps": "\n".join(" " * i + "a:" for i in range(700)),
    "items": "[" + "1," * (LARGE // 2 - 10),
    "plain": "a: " + "x " * (LARGE // 2 - 10),
    "open-quote": 'a: "' + "\\x41" * (LARGE // 4 - 10),
    "directives": "%A b\n" * (LARGE // 5 - 1),
    "folded": "a: >\n" + " x\n\n" * (LARGE // 4 - 10),
    "digits": "a: " + "9" * (LARGE - 10),
    "flow-text": "[" + "a\n" * (LARGE // 2 - 10),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_answered_with_little_effort(name: str) -> None:
    outcome = attempt(HOSTILE[name])
    assert isinstance(outcome, Document) or 1 <= len(outcome.findings) <= 20
    assert effort(lambda: attempt(HOSTILE[name]), tries=1) < 200, "at most 80 when this was written"


def test_a_workflow_of_200_nodes_is_read_quickly() -> None:
    nodes = "".join(
        f'  n{i}: {{agent: researcher, with: {{question: "${{topic}}"}}, writes: notes{i}}}\n'
        for i in range(200)
    )
    text = f"name: x\nnodes:\n{nodes}edges:\n" + "".join(
        f"  - n{i} -> n{i + 1}\n" for i in range(199)
    )
    assert len(read(text).data["nodes"]) == 200
    assert effort(lambda: read(text)) < 40, "8 when this was written"


@given(st.text(alphabet=st.characters(codec=None), max_size=200))
def test_no_text_gives_anything_but_data_or_findings(text: str) -> None:
    outcome = attempt(text)
    if isinstance(outcome, Document):
        assert outcome.at(()).line >= 1
    else:
        assert all(finding.position for finding in outcome.findings)


YAML_LIKE = st.lists(
    st.sampled_from(
        ["a", "b: ", "- ", "\n", "  ", "[", "]", "{", "}", ",", ": ", "? ", "'", '"', "|\n", ">-\n",
         "&x ", "*x", "!t ", "!!int ", "# c", "---\n", "...\n", "%YAML 1.2\n", "\\U", "\\x4", "1e5",
         ".inf", "0x", "\t", "\r", "\x85", "\u2028", "\ufeff", "<<: ", "~", "${a}", "9" * 30]
    ),
    max_size=40,
).map("".join)  # fmt: skip


@given(YAML_LIKE)
def test_no_pieces_of_yaml_give_anything_but_data_or_findings(text: str) -> None:
    outcome = attempt(text)
    if isinstance(outcome, Document):
        assert _is_plain(outcome.data)
        assert outcome.at(("a", 0, "b"))
    else:
        assert all(isinstance(underline(finding, text), str) for finding in outcome.findings)


@given(st.binary(max_size=300))
def test_no_bytes_of_a_file_give_anything_but_data_or_findings(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_bytes(content)
    with suppress(InvalidDefinition):
        read_yaml_file(path)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=10),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(JSON)
def test_json_is_read_as_what_it_says(value: object) -> None:
    import json

    assert read(json.dumps(value)).data == value


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(InvalidDefinition, match="there is no such file"):
        read_yaml_file(tmp_path / "none.yaml")
    with pytest.raises(InvalidDefinition, match="there is no such file"):
        read_yaml_file(tmp_path)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("a: 1\nb: ü\n".encode("latin-1"))
    with pytest.raises(InvalidDefinition, match=r"latin\.yaml:2:4: the file is not UTF-8 here"):
        read_yaml_file(latin)
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(InvalidDefinition, match="there is no such file"):
        read_yaml_file(tmp_path / "pipe.yaml")


def test_a_finding_is_underlined_in_its_line() -> None:
    text = "a: 1\n\tb: 漢字 agnet\n"
    mark = Finding(severity="error", message="m", position=Position("f", 2, 8), code="c")
    assert underline(mark, text) == "2 | \tb: 漢字 agnet\n    \t        ^^^^^"
    nowhere = Finding(severity="error", message="m", position=None, code="c")
    assert underline(nowhere, text) == ""


def test_the_nearest_name_ignores_case_and_gives_up_on_strangers() -> None:
    assert nearest("Reseacher", ["researcher", "reviewer"]) == "researcher"
    assert nearest("zzz", ["researcher"]) is None
    assert did_you_mean("Reseacher", ["researcher"]) == "did you mean 'researcher'?"
    assert did_you_mean("Reseacher", ["researcher"], "; ") == "; did you mean 'researcher'?"
    assert did_you_mean("zzz", ["researcher"], "; ") == did_you_mean(3, ["researcher"]) == ""


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(k, str) and _is_plain(v) for k, v in value.items())
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int | float | bool)
