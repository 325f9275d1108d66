"""Broken definitions: each gives exactly its errors, at the right places, in one pass.

In the texts `¶` stands right before each place where a finding belongs, in order.
"""

from __future__ import annotations

import pytest

from tests.support.broken import findings_of, marked, workflow
from tests.support.broken_definitions import BROKEN, REGISTRY
from ucop.agents.errors import InvalidDefinition
from ucop.agents.text.excerpt import underline
from ucop.agents.text.source import read_yaml
from ucop.graphs.workflows.yaml_file import workflow_of


@pytest.mark.parametrize("case", BROKEN)
def test_given_a_broken_definition_then_exactly_its_errors_are_found_at_their_places(
    case: str,
) -> None:
    codes, text = BROKEN[case]
    clean, places = marked(text)
    found = findings_of(clean, REGISTRY)
    shown = "\n".join(f"{f.position} {f.code}: {f.message}" for f in found)
    assert [f.code for f in found] == codes, shown
    at = [(f.position.line, f.position.column) for f in found if f.position]
    assert at == places, shown


def test_given_an_error_then_it_can_be_underlined() -> None:
    text, _ = marked(BROKEN["an unknown field"][1])
    (finding,) = findings_of(text, REGISTRY)
    assert underline(finding, text).splitlines()[1].strip() == "^" * len("o.titel")
    assert finding.hint == "did you mean 'title'?"


@pytest.mark.parametrize(
    ("case", "hint"),
    [
        ("an unknown agent", "did you mean 'step'?"),
        ("an unknown key of a node", "did you mean 'writes'?"),
        ("an unknown node", "did you mean 'b'?"),
        ("an unknown input", "did you mean 'count'?"),
        ("an unknown reference", "did you mean 'topic'?"),
        ("an unknown merge", "did you mean 'append'?"),
        ("an unknown function", "did you mean 'size'?"),
    ],
)
def test_given_a_wrong_name_then_the_nearest_right_one_is_told(case: str, hint: str) -> None:
    text, _ = marked(BROKEN[case][1])
    assert [
        finding.hint for finding in findings_of(text, REGISTRY) if finding.severity == "error"
    ] == [hint]


def test_given_errors_then_reading_raises_them_all_and_warnings_alone_do_not() -> None:
    broken, _ = marked(BROKEN["mistakes of every kind at once"][1])
    with pytest.raises(InvalidDefinition) as caught:
        workflow_of(read_yaml(broken, "flow.yaml"), REGISTRY)
    assert len(caught.value.findings) == 5
    suspicious, _ = marked(BROKEN["an unused input"][1])
    workflow = workflow_of(read_yaml(suspicious, "flow.yaml"), REGISTRY)
    assert [finding.code for finding in workflow.warnings] == ["unused-input"]


def test_given_a_nullable_answer_then_a_reader_that_wants_a_text_is_not_refused() -> None:
    text = workflow(
        "  a: {agent: counter, with: {text: '${t}'}}",
        rest="input: {t: {type: [string, 'null']}}\n",
    )
    assert findings_of(text, REGISTRY) == ()


def test_given_a_whole_number_then_a_reader_that_wants_a_number_takes_it() -> None:
    text = workflow(
        "  a: {agent: outliner, with: {topic: x, count: '${n}'}}", rest="input: {n: number}\n"
    )
    assert findings_of(text, REGISTRY) == ()
