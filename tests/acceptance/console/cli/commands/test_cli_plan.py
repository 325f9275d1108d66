"""`--dry-run`, `workflows draw` and `workflows schema`: what is known before a run."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest
from jsonschema import Draft202012Validator

from tests.support.command import Ucop
from tests.support.ollama import ScriptedOllama, answer
from ucop.agents.text.source import read_yaml

JUDGED = """\
name: judged
input:
  text: {type: string, minLength: 2}
  strict: {type: boolean, default: false}
nodes:
  write: {agent: author, with: {text: "${text}"}, writes: draft}
  shout: {agent: shout, with: {text: "${text}"}, writes: loud}
  judge: {agent: critic, with: {text: "${draft}"}, writes: verdict}
edges:
  - START -> [write, shout]
  - "[write, shout] -> judge"
  - from: judge
    to:
      - {node: write, when: "verdict.score < 7", at_most: 2}
      - END
output: "${draft}"
agents:
  author: {prompt: "${text}", input: {text: string}}
  critic:
    model: smart
    prompt: "${text}"
    input: {text: string}
    output: {score: {type: integer}}
"""


@pytest.fixture
def judged(ucop: Ucop) -> Ucop:
    ucop.write("workflows/judged.yaml", JUDGED)
    ucop.write(
        "ucop.toml", (ucop.folder / "ucop.toml").read_text() + '[models]\nsmart = "ollama:big"\n'
    )
    return ucop


def files(ucop: Ucop) -> list[str]:
    return sorted(str(p.relative_to(ucop.folder)) for p in ucop.folder.rglob("*"))


def test_a_dry_run_tells_the_plan_and_leaves_no_trace(judged: Ucop) -> None:
    before = files(judged)
    with ScriptedOllama(models=["llama3.2:latest", "big:latest"]) as ollama:
        done = judged("run", "judged", "-i", "text=hi", "--dry-run", OLLAMA_HOST=ollama.url)
        assert ollama.calls == 0
    assert done.code == 0, done.err
    assert '  text: "hi"\n  strict: false, the default\n' in done.out
    assert "  1  write: agent author; model ollama:llama3.2\n" in done.out
    assert "  1  shout: agent shout; code that may ask a model\n" in done.out
    assert "  2  judge: agent critic; model ollama:big\n" in done.out
    assert "after judge: write if verdict.score < 7 (at most 2 times), else END" in done.out
    assert "judge -> write (at most 2 times)" in done.out
    assert "no completed job to tell from yet; 2 nodes would ask a model" in done.out
    assert done.out.endswith("objections:\n  none\n")
    assert files(judged) == before


def test_a_dry_run_tells_every_input_that_is_wrong(judged: Ucop) -> None:
    with ScriptedOllama(models=["llama3.2:latest", "big:latest"]) as ollama:
        done = judged(
            "run", "judged", "-i", "strict=maybe", "--dry-run", "--json", OLLAMA_HOST=ollama.url
        )
    assert done.code == 2
    told = {one["name"]: one["problem"] for one in done.json["inputs"]}
    assert told["text"] == "is missing"
    assert "true or false" in told["strict"]
    assert [one["by"] for one in done.json["objections"]] == ["input", "input"]


def test_a_dry_run_names_the_nodes_that_no_model_would_answer(judged: Ucop) -> None:
    with ScriptedOllama(models=["llama3.2:latest"]) as ollama:
        done = judged("generate", "judged", "hello", "--dry-run", "--json", OLLAMA_HOST=ollama.url)
    assert done.code == 1
    (objection,) = done.json["objections"]
    assert (objection["by"], objection["nodes"]) == ("model", ["judge"])
    assert "ollama pull big" in objection["message"]
    models = {one["asked"]: one["name"] for one in done.json["models"]}
    assert models == {"default": "ollama:llama3.2", "smart": None}


def test_a_dry_run_expects_what_past_jobs_used(judged: Ucop) -> None:
    replies = [answer({"score": 9})]
    with ScriptedOllama(replies, models=["llama3.2:latest", "big:latest"]) as ollama:
        host = {"OLLAMA_HOST": ollama.url}
        assert judged("run", "judged", "-i", "text=hi", **host).code == 0
        plan = judged("run", "judged", "-i", "text=ho", "--dry-run", "--json", **host).json
        assert ollama.calls == 2
        judged.write("workflows/judged.yaml", JUDGED.replace("score < 7", "score < 6"))
        later = judged("run", "judged", "-i", "text=ho", "--dry-run", "--json", **host).json
    expected = plan["expected"]
    assert (expected["jobs"], expected["same_definition"]) == (1, True)
    assert expected["model_calls"] == {"p50": 2, "p95": 2}
    assert expected["tokens_in"]["p50"] > 0
    assert expected["tokens_out"]["p50"] > 0
    assert (later["expected"]["jobs"], later["expected"]["same_definition"]) == (1, False)


def test_a_python_graph_has_a_plan_too(ucop: Ucop) -> None:
    done = ucop("run", "adder", "-i", "numbers=[1]", "--dry-run")
    assert done.code == 0
    assert "  1  sum_up: python; code that may ask a model\n" in done.out


def test_workflows_are_drawn_in_three_formats(ucop: Ucop) -> None:
    assert ucop("workflows", "draw", "gated").out.startswith("%% gated\ngraph TD;\n")
    assert ucop("workflows", "draw", "adder").out.startswith("---\nconfig:")
    assert ucop("workflows", "draw", "adder", "--format", "dot").out.startswith('digraph "adder"')
    drawn = ucop("workflows", "draw", "workflows/gated.yaml", "-o", "gated.svg")
    assert (drawn.code, drawn.out) == (0, "")
    shown = ["".join(one.itertext()) for one in ElementTree.parse(ucop.folder / "gated.svg").iter()]
    assert {"START", "shout", "gate", "last", "END"} <= set(shown)
    boxes = ucop("workflows", "draw", "gated", "--json").json["boxes"]
    assert [box["name"] for box in boxes] == ["START", "shout", "gate", "last", "END"]


def test_what_cannot_be_drawn_is_refused(ucop: Ucop) -> None:
    assert ucop("workflows", "draw", "nonesuch").code == 3
    assert ucop("workflows", "draw", "gated", "--format", "png").code == 2
    refused = ucop("workflows", "draw", "gated", "-o", "no/such/folder.svg")
    assert (refused.code, "no/such/folder.svg" in refused.err) == (2, True)


def test_a_new_projects_workflow_finds_its_schema_beside_it(bare: Ucop) -> None:
    assert bare("init").code == 0
    workflow = bare.folder / "workflows" / "greet.yaml"
    first = workflow.read_text(encoding="utf-8").splitlines()[0]
    named = first.removeprefix("# yaml-language-server: $schema=")
    schema = json.loads((workflow.parent / named).read_text(encoding="utf-8"))
    assert bare("workflows", "schema").json == schema
    data = read_yaml(workflow.read_text(encoding="utf-8"), "greet.yaml").data
    assert not list(Draft202012Validator(schema).iter_errors(data))
    written = bare("workflows", "schema", "-o", "again.json")
    assert (written.code, written.out) == (0, "")
    assert json.loads((bare.folder / "again.json").read_text(encoding="utf-8")) == schema
