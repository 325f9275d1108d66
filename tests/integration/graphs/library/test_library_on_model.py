"""The bundled workflows on the embedded model: shapes, counts and events, never wording."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.library import nodes_of, run_job
from ucop.agents.library.checks import Rules, check_text
from ucop.agents.library.documents import DEMO_DOCUMENTS

pytestmark = [pytest.mark.model, pytest.mark.timeout(600)]

TRAINS = "Trains leave on time in every town. A small delay does not spread to other trains."


def test_a_quick_draft_takes_a_call_or_two(tmp_path: Path) -> None:
    job = run_job(tmp_path, "quick_draft", {"topic": "Green tea", "file": "tea.md"})
    output = job.output
    assert output is not None
    assert (tmp_path / "tea.md").read_text() == output["text"] + "\n"
    assert output["words"] == len(output["text"].split()) >= 8
    checks = check_text(output["text"], Rules(min_words=15))
    assert output["passed"] == (output["remarks"] is None) == all(c.passed for c in checks)
    assert 1 <= job.usage.model_calls <= 4  # two drafts, each asked for again if it was cut off
    assert len(nodes_of(job)) in (3, 5)


def test_a_faulty_text_passes_the_gate_after_a_revision(tmp_path: Path) -> None:
    faulty = f"Dear [Your Name], welcome to our town. {TRAINS} {TRAINS}"
    job = run_job(tmp_path, "quality_gate", {"text": faulty, "sources": [TRAINS], "min_words": 10})
    output = job.output
    assert output is not None
    assert output["passed"]
    assert 1 <= output["rounds"] <= 2
    rules = Rules(min_words=10, sources=(TRAINS,))
    assert all(check.passed for check in check_text(output["text"], rules))
    score = output["checks"][-1]
    assert (score["name"], score["counts"]) == ("score", False)
    assert 1 <= output["score"] <= 10
    assert [event for event in nodes_of(job) if event == "revise"] == ["revise"] * output["rounds"]


def test_a_report_quotes_its_documents_word_for_word(tmp_path: Path) -> None:
    job = run_job(tmp_path, "research", {"topic": "What survives a crash", "passages": 2})
    output = job.output
    assert output is not None
    report = (tmp_path / output["report"]).read_text()
    summary = json.loads((tmp_path / output["summary"]).read_text())
    assert summary["topics"] == output["topics"]
    assert 1 <= len(output["topics"]) <= 2
    quotations = [said for topic in output["topics"] for said in topic["quotations"]]
    assert 2 <= len(quotations) <= 4
    for said in quotations:
        document = (DEMO_DOCUMENTS / said["source"]).read_text()
        assert said["text"] in " ".join(document.split())
        assert f"> {said['text']}\n" in report
        assert said["source"] in output["sources"]
    assert 3 <= job.usage.model_calls <= 12


@pytest.mark.parametrize("task", ["is_even", "fahrenheit"])
def test_code_passes_its_tests_or_says_that_it_did_not(tmp_path: Path, task: str) -> None:
    job = run_job(tmp_path, "code", {"task": task})
    output = job.output
    assert output is not None
    assert job.status == "completed"
    assert 1 <= output["attempts"] <= 4
    assert nodes_of(job).count("write") == nodes_of(job).count("check") == output["attempts"]
    tests = output["report"]["tests"]
    passed = bool(tests) and all(test["passed"] for test in tests)
    assert output["passed"] == output["report"]["passed"] == passed
    assert (output["path"] is not None) == passed
    if passed:
        code = (tmp_path / output["path"]).read_text()
        script = "\n".join([code, *(test["test"] for test in tests)])
        assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
