"""No text, however broken, gives anything but findings with places, and quickly.

`UCOP_EXAMPLES=10000` makes the long run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.effort import effort
from ucop.agents.errors import InvalidDefinition
from ucop.agents.finding import Finding
from ucop.agents.spec.registry import Registry, load_registry
from ucop.agents.text.excerpt import underline
from ucop.agents.text.source import read_yaml_file
from ucop.graphs.check.check import check
from ucop.graphs.workflows.yaml_file import workflow_of

pytestmark = pytest.mark.timeout(3600)  # the long run takes minutes a test
EXAMPLES = int(os.environ.get("UCOP_EXAMPLES", "150"))
LIBRARY = sorted(
    (entry.name, entry.read_text(encoding="utf-8"))
    for entry in files("ucop.graphs.library").iterdir()
    if entry.name.endswith(".yaml")
)
TEXTS = [text for _, text in LIBRARY]


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry(None, (), bundled=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "flow.yaml"


def tried(place: Path, data: bytes, registry: Registry) -> tuple[Finding, ...]:
    """What reading, checking and, where nothing is wrong, compiling a file finds."""
    place.write_bytes(data)
    text = data.decode("utf-8", "replace")
    try:
        document = read_yaml_file(place, "flow.yaml")
    except InvalidDefinition as error:
        found = error.findings
        assert found
    else:
        found = check(document, registry).findings
        if all(finding.severity == "warning" for finding in found):
            workflow_of(document, registry).graph()
    for finding in found:
        assert finding.message
        assert finding.code
        assert finding.position is None or finding.position.line >= 1
        underline(finding, text)
    return found


@pytest.mark.parametrize(("name", "text"), LIBRARY)
def test_given_a_bundled_workflow_then_nothing_is_found(
    name: str, text: str, place: Path, registry: Registry
) -> None:
    assert tried(place, text.encode(), registry) == ()


# ---- bytes ----

_pieces = st.sampled_from(
    [
        b"name: x\n",
        b"nodes:\n",
        b"  a: {agent: x}\n",
        b"edges:\n",
        b"  - START -> a\n",
        b"${",
        b"}",
        b"&a ",
        b"*a",
        b"!!python/object:os.system ",
        b"%YAML 1.1\n",
        b"---\n",
        b"...\n",
        b"\t",
        b"'",
        b'"',
        b"|\n",
        b">\n",
        b"? ",
        b"- ",
        b": ",
        b"{",
        b"[",
        b"]",
        b"# ",
        b"\r",
        b"\x00",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
        b"\xe2\x80\xa8",
        b"<<: ",
        b"0x1F",
        b".inf",
        b"~",
        b"1e999",
        b"when: x ==",
        b"each: '${",
        b"at_most: 1",
        b"\\u0000",
        b"\x85",
        b"\x1b",
    ]
)
_bytes = st.binary(max_size=60) | st.lists(_pieces | st.binary(max_size=4), max_size=20).map(
    b"".join
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(data=_bytes)
@example(data=b"")
@example(data=b"\xff\xfe")
def test_given_any_bytes_then_they_give_findings_and_never_a_traceback(
    data: bytes, place: Path, registry: Registry
) -> None:
    tried(place, data, registry)


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    text=st.sampled_from(TEXTS),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 8), _bytes), max_size=4),
)
def test_given_a_bundled_workflow_with_bytes_exchanged_then_it_gives_findings(
    text: str, changes: list[tuple[float, int, bytes]], place: Path, registry: Registry
) -> None:
    data = text.encode()
    for where, removed, inserted in changes:
        at = int(where * len(data))
        data = data[:at] + inserted + data[at + removed :]
    tried(place, data, registry)


# ---- lines and values of the bundled workflows ----

Mutation = Callable[[list[str], int, int, str], None]


def _delete(lines: list[str], one: int, other: int, value: str) -> None:
    del lines[one]


def _double(lines: list[str], one: int, other: int, value: str) -> None:
    lines.insert(other, lines[one])


def _swap(lines: list[str], one: int, other: int, value: str) -> None:
    lines[one], lines[other] = lines[other], lines[one]


def _indent(lines: list[str], one: int, other: int, value: str) -> None:
    lines[one] = "  " + lines[one] if other % 2 else lines[one][2:]


def _retype(lines: list[str], one: int, other: int, value: str) -> None:
    """Put another value in the place of one."""
    found = list(re.finditer(r": *([^\s,{}\[\]][^,{}\[\]]*)", lines[one]))
    if found:
        start, end = found[other % len(found)].span(1)
        lines[one] = lines[one][:start] + value + lines[one][end:]


def _rename(lines: list[str], one: int, other: int, value: str) -> None:
    """Exchange one name for one of another line."""
    names = re.findall(r"[A-Za-z_]\w+", lines[other]) or ["x"]
    lines[one] = re.sub(r"[A-Za-z_]\w+", names[one % len(names)], lines[one], count=1)


_mutations = st.tuples(
    st.sampled_from([_delete, _double, _swap, _indent, _retype, _rename]),
    st.integers(0, 10_000),
    st.integers(0, 10_000),
    st.sampled_from(
        [
            "3",
            "-1",
            "1.5",
            "true",
            "null",
            "[]",
            "{}",
            "[a, b]",
            "{a: b}",
            "''",
            "'${x}'",
            "string",
            "'${topic}'",
            "'${size(topic) > 3}'",
            "'${topic + 1}'",
            "integer",
            "{type: array}",
            "END",
            "START",
            "{$ref: '#/a'}",
            "{enum: [1, a]}",
            "'${item.x.y}'",
            "9999999999999999999999",
        ]
    ),
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(text=st.sampled_from(TEXTS), mutations=st.lists(_mutations, min_size=1, max_size=5))
def test_given_a_bundled_workflow_with_mistakes_then_it_gives_findings(
    text: str,
    mutations: list[tuple[Mutation, int, int, str]],
    place: Path,
    registry: Registry,
) -> None:
    lines = text.split("\n")
    for mutate, one, other, value in mutations:
        if lines:
            mutate(lines, one % len(lines), other % len(lines), value)
    tried(place, "\n".join(lines).encode(), registry)


# ---- what is made to take long ----

CHAIN = "name: x\nnodes:\n" + "".join(
    f"  n{i}: {{agent: echo, each: '${{n{i - 1}_}}', writes: n{i}_}}\n" for i in range(300)
)
HOSTILE = {
    "aliases that double": "a: &a [x, x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]\n" for i in range(20)
    ),
    "lists in lists": "name: " + "[" * 20_000,
    "mappings in mappings": "a: " * 3 + "{a: " * 20_000,
    "indented deeper and deeper": "".join(f"{' ' * i}a:\n" for i in range(500)),
    "a megabyte of text": "name: " + "x" * 1_000_000,
    "a megabyte of lines": "a: b\n" * 250_000,
    "keys said twice": "name: x\n" * 20_000,
    "quotes without an end": "name: '" + "x" * 200_000,
    "brackets in an expression": "name: x\nnodes: {a: {agent: echo, with: {value: '${"
    + "(" * 1_900 + "}'}}}",
    "signs in an expression": "name: x\nnodes: {a: {agent: echo, with: {value: '${"
    + "!" * 1_900 + "x}'}}}",
    "sums in an expression": "name: x\nnodes: {a: {agent: echo, with: {value: '${"
    + "+".join(["1"] * 900) + "}'}}}",
    "choices in an expression": "name: x\nnodes: {a: {agent: echo, with: {value: '${"
    + "true ? 1 : " * 180 + "2}'}}}",
    "a type in itself": "name: x\ninput: {t: {$ref: '#'}}\nnodes:\n"
    "  a: {agent: echo, with: {value: '${t.a.b}'}}",
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_given_a_hostile_text_then_it_is_answered_with_little_effort(
    case: str, place: Path, registry: Registry
) -> None:
    found = tried(place, HOSTILE[case].encode(), registry)
    again = effort(lambda: tried(place, HOSTILE[case].encode(), registry), tries=1)
    assert again < 150, "at most 47 when this was written"
    assert any(finding.severity == "error" for finding in found) or case.endswith("expression")


def test_given_names_that_rest_on_one_another_without_end_then_there_are_findings(
    place: Path, registry: Registry
) -> None:
    assert any(finding.severity == "error" for finding in tried(place, CHAIN.encode(), registry))
