"""The bundled workflows as jobs on a scripted endpoint: loops, files, and what they tell."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.library import Cast, nodes_of, run_job
from tests.support.ollama import ScriptedOllama
from ucop.engine import Job

TEA = "Green tea is made from leaves that are not fermented. Most of it is grown in China."
TRAINS = "Trains leave on time in every town. A small delay does not spread to other trains."
FOUND = "Tickets can be bought at every station."


def run(place: Path, workflow: str, cast: Cast, /, **data: Any) -> Job:
    with ScriptedOllama(cast) as ollama:
        return run_job(place, workflow, data, ollama=ollama.url)


# quick_draft


def test_a_draft_that_passes_is_one_call(tmp_path: Path) -> None:
    cast = Cast(draft_writer=[{"text": TEA}])
    job = run(tmp_path, "quick_draft", cast, topic="Green tea")
    assert job.output == {
        "text": TEA, "words": 17, "path": None, "passed": True, "remarks": None,
    }  # fmt: skip
    assert cast.calls == {"draft_writer": 1}
    assert nodes_of(job) == ["draft", "check", "deliver"]
    assert list(tmp_path.glob("*.md")) == []


def test_a_draft_that_says_a_thing_twice_is_written_again_once_and_kept_in_a_file(
    tmp_path: Path,
) -> None:
    twice = "Green tea is made from leaves. Green tea is made from leaves. Tea is grown in most of Asia."
    cast = Cast(draft_writer=[{"text": twice}, {"text": TEA}])
    job = run(tmp_path, "quick_draft", cast, topic="Green tea", file="drafts/tea.md")
    assert job.output is not None
    assert (job.output["text"], job.output["path"]) == (TEA, "drafts/tea.md")
    assert (tmp_path / "drafts/tea.md").read_text() == TEA + "\n"
    assert cast.calls == {"draft_writer": 2}
    assert "said again: “Green tea is made from leaves.”" in cast.asked["draft_writer"][1]


def test_a_draft_that_never_passes_is_delivered_with_what_failed(tmp_path: Path) -> None:
    job = run(
        tmp_path, "quick_draft", Cast(draft_writer=[{"text": f"{TEA} {TEA}"}]), topic="Green tea"
    )
    assert job.output is not None
    assert not job.output["passed"]
    assert job.output["remarks"].startswith("repetition: said again: ")
    assert nodes_of(job) == ["draft", "check", "draft", "check", "deliver"]


@pytest.mark.parametrize("file", ["../out.md", "/tmp/out.md", "agents.py", ".env.md", "there.md"])
def test_a_draft_replaces_no_file_and_leaves_the_project_nowhere(tmp_path: Path, file: str) -> None:
    (tmp_path / "there.md").write_text("Mine.\n")
    job = run(
        tmp_path, "quick_draft", Cast(draft_writer=[{"text": TEA}]), topic="Green tea", file=file
    )
    assert job.error is not None
    assert (job.status, job.error.node, job.error.type) == ("failed", "deliver", "AgentInputError")
    assert (tmp_path / "there.md").read_text() == "Mine.\n"
    assert [f.name for f in tmp_path.iterdir() if not f.name.startswith("ucop.db")] == ["there.md"]


# quality_gate

FAULTY = f"Dear [Your Name], welcome to our town. {TRAINS} Elephants swim in warm lakes of Africa."
GATE = {"text": FAULTY, "sources": [TRAINS, FOUND], "min_words": 15}
FINE = {"comments": "It says what it should say.", "score": 8}


def test_a_text_that_passes_is_not_touched(tmp_path: Path) -> None:
    cast = Cast(reviewer=[FINE])
    job = run(tmp_path, "quality_gate", cast, **{**GATE, "text": TRAINS})
    assert job.output is not None
    assert (job.output["passed"], job.output["rounds"], job.output["text"]) == (True, 0, TRAINS)
    assert [(check["name"], check["passed"]) for check in job.output["checks"]] == [
        (name, True) for name in ("length", "placeholders", "repetition", "grounding", "score")
    ]
    assert cast.calls == {"reviewer": 1}


def test_the_models_revision_is_taken_where_it_keeps_more_checks(tmp_path: Path) -> None:
    better = f"{TRAINS} {FOUND}"
    cast = Cast(reviewer=[FINE], rewriter=[{"text": better}])
    job = run(tmp_path, "quality_gate", cast, **GATE)
    assert job.output is not None
    assert (job.output["passed"], job.output["rounds"], job.output["text"]) == (True, 1, better)
    assert "[Your Name]" in cast.asked["rewriter"][0].split("Text:")[0]
    assert nodes_of(job) == ["score", "check", "revise", "score", "check", "settle"]


@pytest.mark.parametrize("bad", [FAULTY, "I like to eat bananas, and nothing else at all."])
def test_rules_repair_what_the_model_does_not(tmp_path: Path, bad: str) -> None:
    cast = Cast(reviewer=[FINE], rewriter=[{"text": bad}])
    job = run(tmp_path, "quality_gate", cast, **GATE)
    assert job.output is not None
    assert (job.output["passed"], job.output["rounds"], job.output["text"]) == (True, 1, TRAINS)


def test_what_cannot_be_repaired_ends_with_what_failed_after_the_rounds(tmp_path: Path) -> None:
    cast = Cast(
        reviewer=[{"comments": "It says too little about trains.", "score": 2}],
        rewriter=[{"text": "Nothing much."}],
    )
    data = {"text": TRAINS, "min_words": 90, "rounds": 2, "min_score": 5}
    job = run(tmp_path, "quality_gate", cast, **data)
    assert job.output is not None
    assert (job.status, job.output["passed"], job.output["rounds"]) == ("completed", False, 2)
    assert job.output["failed"] == ["length", "score"]
    assert (job.output["text"], cast.calls) == (TRAINS, {"reviewer": 3, "rewriter": 2})
    assert "It says too little about trains." in cast.asked["rewriter"][0]

    failed = run(tmp_path, "quality_gate", cast, **{**data, "rounds": 0, "must_pass": True})
    assert failed.error is not None
    assert (failed.status, failed.error.node) == ("failed", "settle")
    assert "length: 16 words, at least 90 are wanted" in failed.error.message


# research


def test_every_quotation_of_a_report_stands_in_its_document(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "tea.md").write_text(f"# Tea\n\n{TEA} Tea keeps for a year in a dry tin.\n")
    (docs / "trains.md").write_text(f"# Trains\n\n{TRAINS} {FOUND}\n")
    cast = Cast(paragraph_writer=[{"text": "Elephants swim in the warm lakes of Africa."}])
    job = run(tmp_path, "research", cast, topic="Green tea on trains", folder="docs", passages=2)
    output = job.output
    assert output is not None
    assert output["sources"] == ["tea.md", "trains.md"]
    assert cast.calls == {"note_taker": 2, "paragraph_writer": 6}

    report = (tmp_path / output["report"]).read_text()
    quotations = [said for topic in output["topics"] for said in topic["quotations"]]
    assert len(quotations) == 4
    for said in quotations:
        assert said["text"] in (docs / said["source"]).read_text()
        assert f"> {said['text']}\n>\n> — {said['source']}" in report
    assert all(topic["quoted"] for topic in output["topics"]), "the model said something else"
    assert "Elephants" not in report
    assert json.loads((tmp_path / output["summary"]).read_text()) == {
        "question": "Green tea on trains",
        "topics": output["topics"],
        "sources": output["sources"],
    }


def test_a_folder_outside_the_project_is_not_read(tmp_path: Path) -> None:
    cast = Cast()
    job = run(tmp_path, "research", cast, topic="Green tea", folder="/etc")
    assert job.error is not None
    assert (job.status, job.error.node, cast.calls) == ("failed", "read", {})


# code

WRONG = {"code": "def add(a, b):\n    return a - b"}
RIGHT = {"code": "def add(a, b):\n    return a + b"}


def test_the_error_of_a_test_goes_back_to_the_model_until_the_tests_pass(tmp_path: Path) -> None:
    cast = Cast(function_writer=[WRONG, RIGHT])
    job = run(tmp_path, "code", cast, task="add")
    output = job.output
    assert output is not None
    assert (output["passed"], output["attempts"]) == (True, 2)
    assert output["summary"] == "3 of 3 tests passed"
    assert "add(2, 3) == 5: add(2, 3) is -1" in cast.asked["function_writer"][1]
    assert "return a - b" in cast.asked["function_writer"][1]
    assert (tmp_path / output["path"]).read_text() == RIGHT["code"] + "\n"
    assert nodes_of(job) == ["plan", "write", "check", "write", "check", "keep", "settle"]


def test_a_job_whose_tests_never_pass_completes_and_tells_so(tmp_path: Path) -> None:
    cast = Cast(function_writer=[WRONG])
    job = run(tmp_path, "code", cast, task="add", attempts=2)
    output = job.output
    assert output is not None
    assert (job.status, output["passed"], output["path"]) == ("completed", False, None)
    assert (output["attempts"], output["summary"]) == (2, "1 of 3 tests passed")
    assert cast.calls == {"function_writer": 1 + 3}, "an answer that was tried is asked for again"
    assert not (tmp_path / "code").exists()

    failed = run(tmp_path, "code", cast, task="add", attempts=1, must_pass=True)
    assert failed.error is not None
    assert (failed.status, failed.error.node) == ("failed", "settle")


def test_a_users_tests_tell_the_signature_and_may_be_a_file(tmp_path: Path) -> None:
    tests = "import math\n\ndef test_half():\n    assert math.isclose(half(3), 1.5)\n"
    (tmp_path / "test_half.py").write_text(tests)
    cast = Cast(function_writer=[{"code": "return a / 2"}])
    job = run(tmp_path, "code", cast, task="Halve a number.", tests_file="test_half.py")
    assert job.output is not None
    assert (job.output["passed"], job.output["code"]) == (True, "def half(a):\n    return a / 2")
    kept = (tmp_path / job.output["path"]).read_text()
    script = f"{kept}\n{tests}\ntest_half()"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"task": "Sort a list."}, "there are none"),
        ({"task": "x2", "tests": "assert f(1) =="}, "not Python in line 1"),
        ({"task": "x2", "tests": "import math"}, "hold no test"),
        ({"task": "x2", "tests": "assert len([]) == 0"}, "call no function"),
        ({"task": "x2", "tests": "assert f(1)", "signature": "f(a): import os"}, "not one of a"),
        ({"task": "x2", "tests": "assert f(1)", "signature": "f(a):\n  x = 1"}, "not one of a"),
        ({"task": "x2", "tests_file": "../t.py"}, "outside the project"),
        ({"task": "x2", "tests_file": "ucop.db"}, "no Python file"),
        ({"task": "x2", "tests": "assert f(1)", "tests_file": "t.py"}, "both given"),
    ],
)
def test_what_cannot_be_tried_is_refused_before_a_model_is_asked(
    tmp_path: Path, data: dict[str, Any], message: str
) -> None:
    cast = Cast()
    job = run(tmp_path, "code", cast, **data)
    assert job.error is not None
    assert (job.error.node, job.error.type, cast.calls) == ("plan", "AgentInputError", {})
    assert message in job.error.message


# blog

BLOG: dict[str, list[Any]] = {
    "reviewer": [FINE],
    "headline_writer": [{"heading": "Trains on time"}],
}


def documents(folder: Path) -> None:
    (folder / "docs").mkdir()
    (folder / "docs" / "a.md").write_text(f"{TRAINS}\n\n{FOUND} {TEA}\n")


def test_a_topic_that_was_written_about_stops_the_blog_unless_it_is_allowed(
    tmp_path: Path,
) -> None:
    documents(tmp_path)
    (tmp_path / "articles").mkdir()
    (tmp_path / "articles" / "old.md").write_text("# Durable trains\n")
    cast = Cast(**BLOG)
    job = run(tmp_path, "blog", cast, topic="durable Train", folder="docs")
    assert job.output is not None
    assert (job.status, job.output["path"]) == ("completed", None)
    assert job.output["duplicate_of"] == "articles/old.md"
    assert (nodes_of(job), cast.calls) == (["look"], {})

    other = run(
        tmp_path, "blog", cast, topic="durable Train", folder="docs", allow_duplicate=True,
    )  # fmt: skip
    assert other.output is not None
    assert other.output["duplicate_of"] == "articles/old.md"
    assert (tmp_path / other.output["path"]).read_text().startswith("# Durable Train\n")


def test_an_article_that_says_a_thing_twice_is_drafted_again_once_and_tells_so(
    tmp_path: Path,
) -> None:
    documents(tmp_path)
    (tmp_path / "docs" / "b.md").write_text(f"{TRAINS}\n")
    same = {"text": "A small delay does not spread to other trains in town."}
    cast = Cast(paragraph_writer=[same], **BLOG)
    job = run(tmp_path, "blog", cast, topic="trains", folder="docs", sections=2)
    assert job.output is not None
    again = ["draft", "assemble", "review", "check"]
    assert nodes_of(job) == ["look", "read", "research", "outline", *again, *again, "publish"]
    assert job.output["remarks"].startswith("repetition: said again: ")
    assert (tmp_path / job.output["path"]).is_file()
    first, *_, last = cast.asked["paragraph_writer"]
    assert "said again: “A small delay" not in first
    assert "said again: “A small delay" in last
