"""The examples of docs/server.md, as they stand there, against a real server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib

import httpx
import pytest

from tests.support.command import Ucop
from tests.support.paths import ROOT
from tests.support.server import Server
from tests.support.waiting import DEADLINE
from ucop.engine.settings import ServeSettings

PAGE = (ROOT / "docs/server.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.M | re.S)


@pytest.fixture(scope="module")
def job(client: httpx.Client) -> str:
    body = {"workflow": "say", "input": {"text": "documented"}}
    id: str = client.post("/jobs", params={"wait": 60}, json=body).json()["id"]
    return id


@pytest.mark.parametrize("script", [each for each in blocks("sh") if "keys add" not in each])
def test_a_line_of_curl_does_what_it_says(
    script: str, server: Server, job: str, project: Ucop
) -> None:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env={**os.environ, "UCOP": server.url, "JOB": job},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, done.stderr
    assert '"output":"HELLO"' in done.stdout or "event: end" in done.stdout


@pytest.mark.parametrize("script", blocks("python"))
def test_a_piece_of_python_does_what_it_says(script: str, server: Server, job: str) -> None:
    before = f"url, id = {server.url!r}, {job!r}\n"
    done = subprocess.run(
        [sys.executable, "-c", before + script.replace("http://127.0.0.1:2024", server.url)],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, done.stderr
    assert "HELLO" in done.stdout or done.stdout.splitlines()[-1] == "end"


def test_a_key_opens_what_the_page_says(server: Server, project: Ucop) -> None:
    (script,) = (each for each in blocks("sh") if "keys add" in each)
    done = project.shell(f"export UCOP={server.url}; {script}")
    try:
        assert done.code == 0, done.err
        assert '"items":' in done.out
    finally:
        assert project("keys", "remove", "ci").code == 0


def test_every_setting_that_the_page_names_is_one() -> None:
    (table,) = blocks("toml")
    settings = ServeSettings.model_validate(tomllib.loads(table)["serve"])
    assert settings.model_fields_set == set(ServeSettings.model_fields)
