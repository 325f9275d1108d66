"""The bundled mesh: a writer asks for research, a fact check and code, as it needs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.library import Cast, nodes_of, run_job
from tests.support.ollama import ScriptedOllama
from ucop.agents.library.documents import DEMO_DOCUMENTS
from ucop.engine import Job

SAME = "Tea from China is sold by unicorns on the far side of the moon each year."


def asked(job: Job) -> list[str]:
    assert job.output is not None
    return [f"{hop['asker'] or ''}>{hop['agent']}" for hop in job.output["path"]]


def test_without_a_task_no_code_is_asked_for(tmp_path: Path) -> None:
    with ScriptedOllama(Cast(paragraph_writer=[{"text": f"{SAME} {SAME}"}])) as ollama:
        job = run_job(tmp_path, "story_desk", {"topic": "durable execution"}, ollama=ollama.url)
    assert asked(job) == [
        *(">story_writer", "story_writer>fact_finder", "fact_finder>document_reader"),
        *("fact_finder>researcher", "fact_finder>researcher"),
        *("story_writer>section_writer", "story_writer>fact_checker"),
    ]
    output = job.output
    assert output is not None
    assert output["hops"] == 7
    assert output["example"] is None
    # What the model made up does not reach the text: the facts are quoted.
    documents = " ".join(
        " ".join(path.read_text().split()) for path in sorted(DEMO_DOCUMENTS.glob("*.md"))
    )
    assert output["quoted"]
    assert all(sentence in documents for sentence in output["text"].split(". ")[:1])


@pytest.mark.model
@pytest.mark.timeout(600)
def test_on_the_embedded_model_a_writer_asks_for_all_that_it_needs(tmp_path: Path) -> None:
    job = run_job(tmp_path, "story_desk", {"topic": "checkpoints", "task": "is_even"})
    assert job.status == "completed", job.error
    output = job.output
    assert output is not None
    assert asked(job)[:5] == [
        *(">story_writer", "story_writer>fact_finder", "fact_finder>document_reader"),
        *("fact_finder>researcher", "fact_finder>researcher"),
    ]
    assert {"story_writer>section_writer", "story_writer>fact_checker"} <= set(asked(job))
    assert {"example_writer>coder", "example_writer>code_checker"} <= set(asked(job))
    assert all(hop["outcome"] == "answered" for hop in output["path"])
    assert output["hops"] == len(output["path"]) <= 20
    assert output["text"]
    assert output["sources"]
    assert output["quoted"] or output["unsupported"] == []
    assert isinstance(output["example"]["passed"], bool)
    # Calls of models are told where they were made.
    spent = {step.node: step.model_calls for step in job.steps if step.model_calls}
    assert {"researcher", "coder"} <= spent.keys() <= {"researcher", "section_writer", "coder"}
    assert nodes_of(job).count("story_writer") == 5
