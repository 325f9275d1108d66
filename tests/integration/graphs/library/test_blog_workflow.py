"""The bundled `blog` workflow, end to end on the embedded model: shapes and counts, no wording."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.flows import InlineSaver, saver_at
from tests.support.paths import ROOT
from ucop.agents.models.models import Models
from ucop.agents.models.provider import ModelUse
from ucop.agents.spec.function import agent
from ucop.agents.spec.registry import Registry, load_registry
from ucop.agents.text.source import read_yaml
from ucop.graphs.nodes.context import RunContext
from ucop.graphs.workflow import Workflow
from ucop.graphs.workflows.catalog import Catalog
from ucop.graphs.workflows.stored import restore
from ucop.graphs.workflows.yaml_file import workflow_of
from ucop.graphs.workflows.yaml_workflow import YamlWorkflow

NOBODY = "127.0.0.1:9"
REGISTRY = load_registry(None)


async def events_of(
    workflow: Workflow, first: Any, saver: InlineSaver, context: RunContext
) -> tuple[Counter[str], Any]:
    """How often each node ended, and the values at the end."""
    ended: Counter[str] = Counter()
    values: Any = {}
    graph = workflow.graph().copy({"checkpointer": saver})
    async for mode, event in graph.astream(
        first,
        {"configurable": {"thread_id": "blog"}},
        context=context,
        stream_mode=["updates", "values"],
        durability="sync",
    ):
        if mode == "values":
            values = event
        else:
            ended.update(list(event))
    return ended, values


def test_given_the_bundled_workflow_then_it_has_no_findings_and_any_process_can_run_it() -> None:
    workflow = Catalog(None, (), REGISTRY).get("blog")
    assert workflow.warnings == ()
    assert workflow.needs == ()
    assert workflow.accept({"topic": "Durable agents"}) == {
        "topic": "Durable agents",
        "folder": None,
        "sections": 3,
        "allow_duplicate": False,
        "approval": False,
    }


async def test_given_a_low_score_then_the_article_is_written_again_once_with_the_remarks(
    tmp_path: Path,
) -> None:
    told: list[Any] = []

    @agent("researcher")
    def researcher(topic: str, passage: Any) -> Any:
        return {"facts": [passage["openings"][0], passage["endings"][0]], "source": "x"}

    @agent("outliner")
    def outliner(topic: str, notes: Any) -> Any:
        sections = [
            {"heading": f"Part {i}", "note": n["facts"][0], "source": "x"}
            for i, n in enumerate(notes)
        ]
        return {"title": topic, "sections": sections}

    @agent("section_writer")
    def section_writer(topic: str, section: Any, remarks: Any = None) -> Any:
        told.append(remarks)
        return {
            "heading": section["heading"],
            "text": section["note"],
            "source": "x",
            "quoted": True,
        }

    @agent("reviewer")
    def reviewer(article: str) -> Any:
        return {"comments": "Too short.", "score": 1}

    own = Registry.of(researcher, outliner, section_writer, reviewer)
    text = (ROOT / "graphs/library/blog.yaml").read_text()
    workflow = workflow_of(read_yaml(text, "blog.yaml"), REGISTRY.extended(own))
    context = RunContext(job_id="job", models=Models(embedded=False), folder=tmp_path)
    async with saver_at(tmp_path / "s.db") as saver:
        first = workflow.start(workflow.accept({"topic": "Durable agents", "sections": 2}))
        ended, values = await events_of(workflow, first, saver, context)
    assert told == [None, None, "Too short.", "Too short."]
    assert ended["draft"] == ended["review"] == 2
    assert ended["publish"] == 1
    assert (tmp_path / workflow.result(values)["path"]).is_file()


@pytest.mark.model
@pytest.mark.timeout(180)
async def test_given_the_embedded_model_then_an_article_is_written_and_a_stop_loses_nothing(
    tmp_path: Path,
) -> None:
    workflow = Catalog(None, (), REGISTRY).get("blog")
    assert isinstance(workflow, YamlWorkflow)
    uses: list[ModelUse] = []
    models = Models(ollama_host=NOBODY, on_use=uses.append)
    told: list[str] = []
    context = RunContext(
        job_id="job", models=models, folder=tmp_path, progress=lambda node, text: told.append(node)
    )
    try:
        async with saver_at(tmp_path / "s.db") as saver:
            first = workflow.start(workflow.accept({"topic": "Durable agents"}))
            running = asyncio.ensure_future(events_of(workflow, first, saver, context))
            while len(uses) < 7 and not running.done():
                await asyncio.sleep(0.02)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        asked = len(uses)
        kept = json.loads(json.dumps(workflow.stored))
        back = restore(kept, catalog=Catalog(None), registry=REGISTRY)
        async with saver_at(tmp_path / "s.db") as saver:
            ended, values = await events_of(back, None, saver, context)
    finally:
        await models.aclose()

    assert asked >= 7
    assert "read" not in ended, "it had ended before"
    assert "research" not in ended
    assert ended["publish"] == 1
    assert len(values["notes"]) == len(values["outline"]["sections"]) == len(values["drafts"]) == 3
    result = back.result(values)
    article = (tmp_path / result["path"]).read_text()
    assert article.startswith("# ")
    assert article.count("\n## ") >= 3
    assert result["words"] > 50
    assert 1 <= result["score"] <= 10
    assert all(use.embedded for use in uses)
