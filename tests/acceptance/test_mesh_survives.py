"""A mesh whose worker is killed in the middle goes on at the right hop, on both databases."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.command import Ucop
from tests.support.meshes import FILES
from tests.support.waiting import until
from ucop.engine import Engine
from ucop.engine.jobs.job import Job
from ucop.engine.reading.reader import open_reader

SETTINGS = """\
workflows = ["workflows/*.yaml"]
agents = ["agents.py"]
sweep = 0.2
"""


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        postgres: str = request.getfixturevalue("postgres_url")
        return postgres
    return f"sqlite:///{tmp_path}/mesh.db"


def steps_of(job: Job, attempt: int) -> list[tuple[str, str]]:
    return [(step.node, step.status.value) for step in job.steps if step.attempt == attempt]


def test_after_kill_9_each_mesh_goes_on_with_the_agent_that_was_called(
    bare: Ucop, url: str
) -> None:
    for name, text in {**FILES, "ucop.toml": SETTINGS, "wait.txt": ""}.items():
        bare.write(name, text)
    bare.extra["UCOP_DATABASE"] = url
    with Engine.from_project(bare.folder, url=url, worker=False) as engine:
        alone = engine.submit("news", {"topic": "tea"}).id
        inside = engine.submit("page", {"topics": ["milk"]}).id
    first = bare.start("worker")
    called = {"checker notes on tea", "checker notes on milk"}
    until(lambda: called <= set(bare.lines("ran.txt")), "a call of each checker")
    first.signal(signal.SIGKILL)
    assert first.end().code == -signal.SIGKILL
    with open_reader(url) as reader:
        assert [reader.status(id)[0] for id in (alone, inside)] == ["running", "running"]
        bare.write("go.txt", "")
        second = bare.start("worker")
        ended = {"completed", "failed"}
        until(lambda: {reader.status(id)[0] for id in (alone, inside)} <= ended, "the end")
        second.signal(signal.SIGTERM)
        assert second.end().code == 0
        news, page = reader.job(alone), reader.job(inside)
    assert (news.status, page.status) == ("completed", "completed"), (news.error, page.error)
    assert page.output == ["milk: notes on milk"]
    asked = [(hop["hop"], hop["agent"], hop["outcome"]) for hop in news.output["path"]]
    assert asked == [(1, "writer", "answered"), (2, "anna", "answered"), (3, "checker", "answered")]
    # What was asked and answered before is not asked again; who was called then is called again.
    for topic in ("tea", "milk"):
        ran = [line for line in bare.lines("ran.txt") if topic in line]
        assert [line.split()[0] for line in ran] == [
            *("writer", "anna" if f"anna {topic}" in ran else "bert", "writer", "checker"),
            *("checker", "writer"),
        ]
    assert steps_of(news, 2) == [("checker", "completed"), ("writer", "completed")]
    assert steps_of(page, 2) == [
        ("write", "completed"),
        ("write/checker", "completed"),
        ("write/writer", "completed"),
    ]
