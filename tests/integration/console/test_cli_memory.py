"""`ucop memory`: documents to search, and what is remembered. In this process: each command imports
LangGraph, and a process of its own for each would cost most of the test's time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.support.ollama import ScriptedOllama
from ucop.console.cli.main import app

Ucop = Callable[..., Result]


@pytest.fixture
def ollama() -> Iterator[ScriptedOllama]:
    with ScriptedOllama(models=["nomic-embed-text:latest"]) as one:
        yield one


@pytest.fixture
def ucop(ollama: ScriptedOllama, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ucop:
    monkeypatch.setenv("OLLAMA_HOST", ollama.url)
    monkeypatch.setenv("UCOP_EMBEDDED", "false")
    (tmp_path / "ucop.toml").write_text("")

    def run(*args: Any) -> Result:
        return CliRunner().invoke(app, ["--project", str(tmp_path), "memory", *map(str, args)])

    return run


def test_a_folder_is_ingested_searched_listed_and_forgotten(
    ucop: Ucop, ollama: ScriptedOllama, tmp_path: Path
) -> None:
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages/tea.md").write_text("# Tea\n\nTea is made from leaves.\n")
    (tmp_path / "pages/bees.txt").write_text("Bees make honey.")
    done = ucop("ingest", tmp_path / "pages", "--collection", "garden")
    assert done.stdout == "2 files: 2 passages added, 0 unchanged, 0 removed\n"
    assert done.exit_code == 0
    (row,) = ucop("search", "who makes honey", "--limit", 1).stdout.splitlines()
    assert row.split("\t")[1:] == ["documents/garden", "bees.txt#0", "Bees make honey."]
    told = json.loads(ucop("list", "--json").stdout)
    assert told == [{"space": "documents/garden", "items": 2}]
    rows = ucop("list", "documents/garden").stdout.splitlines()
    assert [row.split("\t")[1] for row in rows] == ["bees.txt#0", "tea.md#0"]
    assert ucop("list", "--tenant", "acme").stdout == ""
    assert ucop("forget", "documents/garden", "--key", "tea.md#0").stdout == "1 item forgotten\n"
    assert ucop("forget", "documents").stdout == "1 item forgotten\n"
    assert ucop("list").stdout == ""
    assert len(ollama.embedded) == 4  # one to learn its size, two passages, one question


def test_a_file_that_cannot_be_read_is_told_and_a_folder_must_be_there(
    ucop: Ucop, tmp_path: Path
) -> None:
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages/bad.md").write_bytes(b"\xff\xfe")
    done = ucop("ingest", tmp_path / "pages", "--json")
    assert done.exit_code == 1
    assert list(json.loads(done.stdout)["unread"]) == ["bad.md"]
    assert "bad.md was not read" in done.stderr
    assert ucop("ingest", tmp_path / "nowhere").exit_code == 2
