"""The bundled `blog` workflow as a job on the embedded model: shapes and events, no wording."""

from __future__ import annotations

from pathlib import Path

import pytest

from ucop.engine import Engine, Settings

pytestmark = [pytest.mark.model, pytest.mark.timeout(600)]

NOBODY = "127.0.0.1:9"
DEADLINE = 500.0

ASKS = {"research", "outline", "draft", "review"}
ROUND = ["draft", "assemble", "review", "check"]


def test_the_blog_is_written_by_a_job_that_tells_of_all_it_does(tmp_path: Path) -> None:
    settings = Settings.load(
        tmp_path, database=f"sqlite:///{tmp_path}/ucop.db", ollama_host=NOBODY, embedded=True
    )
    with Engine(settings=settings) as engine:
        handle = engine.submit("blog", {"topic": "Durable agents", "sections": 2})
        output = handle.result(DEADLINE)
        job, events = handle.get(), list(handle.events())

    article = (tmp_path / output["path"]).read_text(encoding="utf-8")
    assert article.startswith("# ")
    assert article.count("\n## ") >= 2
    assert output["words"] > 20
    assert 1 <= output["score"] <= 10
    assert [file.name for file in (tmp_path / "articles").iterdir()] == [Path(output["path"]).name]

    ran = [step for step in job.steps if step.status != "skipped"]
    nodes = [step.node for step in ran]
    begin, end = ["look", "read", "research", "outline"], ["publish"]
    assert nodes in ([*begin, *ROUND, *end], [*begin, *ROUND, *ROUND, *end])
    for step in ran:
        assert (step.status, step.attempt) == ("completed", 1)
        assert step.started_at is not None
        assert step.finished_at is not None
        assert step.started_at <= step.finished_at
        asks = step.node in ASKS
        assert (step.model_calls > 0, step.tokens_in > 0, step.tokens_out > 0) == (asks,) * 3
        assert step.models == (("embedded:smollm2:135m",) if asks else ())
    assert job.usage.model_calls == sum(step.model_calls for step in job.steps)
    assert job.usage.tokens_out == sum(step.tokens_out for step in job.steps)
    assert sum(step.model_calls for step in job.steps if step.node == "research") >= 2

    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    kinds = [event.type for event in events]
    assert kinds[:2] == ["job.submitted", "job.running"]
    assert kinds[-1] == "job.completed"
    assert kinds.count("step.started") == kinds.count("step.completed") == len(nodes)
    [used] = [event.data for event in events if event.type == "model.used"]
    assert (used["name"], used["embedded"]) == ("embedded:smollm2:135m", True)
    assert "small model" in used["note"]
