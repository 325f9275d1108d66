"""What the project says of its database, as most commands read it, against the whole Settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from ucop.engine.database.database import DatabaseSettings
from ucop.engine.errors import InvalidSettings
from ucop.engine.project import project_database
from ucop.engine.settings import Settings

FILES = {
    "nothing": {},
    "ucop.toml": {"ucop.toml": 'database = "sqlite:///a/b.db"\n'},
    "another setting": {"ucop.toml": "concurrency = 3\n"},
    "a root": {"ucop.toml": 'root = "/somewhere"\n'},
    "pyproject.toml": {"pyproject.toml": '[tool.ucop]\ndatabase = "postgresql://u@h/n"\n'},
    "somebody's pyproject.toml": {"pyproject.toml": "[tool.other]\n"},
    "how it is opened": {"ucop.toml": 'synchronous = "FULL"\nlease = 5\n'},
    "langgraph.json": {"langgraph.json": '{"graphs": {"a": "./a.py:g"}}'},
    "absolute": {"ucop.toml": 'database = "sqlite:////tmp/x.db"\n'},
}
ENVIRONMENTS: tuple[dict[str, str], ...] = (
    {},
    {"UCOP_DATABASE": "sqlite:///env.db"},
    {"ucop_database": "sqlite:///small.db"},
    {"UCOP_ROOT": "/elsewhere"},
    {"UCOP_SYNCHRONOUS": "FULL", "ucop_lease": "2.5"},
    {"UCOP_DATABASE": ""},
    {"UCOP_DATABASE": "mysql://x"},
)


def opening(settings: DatabaseSettings) -> tuple[str, str, float]:
    return settings.url, settings.synchronous, settings.lease


def outcome(find: object) -> str:
    try:
        return str(find())  # type: ignore[operator]
    except InvalidSettings as error:
        return f"refused: {error}"


@pytest.mark.parametrize("given", [None, "sqlite:///given.db", "nonsense"])
@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=str)
@pytest.mark.parametrize("files", FILES)
def test_it_is_the_settings_own(
    files: str,
    environment: dict[str, str],
    given: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, text in FILES[files].items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "inner").mkdir()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for start in (tmp_path, tmp_path / "inner"):
        whole = outcome(lambda start=start: opening(Settings.load(start, database=given)))
        assert outcome(lambda start=start: opening(project_database(start, given))) == whole


@pytest.mark.parametrize("line", ["synchronous = 'OFF'", "lease = 0", "lease = 'long'"])
def test_a_database_that_cannot_be_opened_so_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "ucop.toml").write_text(f"{line}\n", encoding="utf-8")
    for load in (project_database, Settings.load):
        with pytest.raises(InvalidSettings, match=rf"ucop\.toml.*{line.partition(' ')[0]}"):
            load(tmp_path)


def test_a_database_that_is_no_text_is_refused_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "ucop.toml").write_text("database = 3\n", encoding="utf-8")
    with pytest.raises(InvalidSettings, match=r"ucop\.toml.*database"):
        project_database(tmp_path)
    with pytest.raises(InvalidSettings, match=r"ucop\.toml.*database"):
        Settings.load(tmp_path)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("concurrency = 0", "concurrency must be above 0"),
        ("retries = -1", "retries must be at least 0"),
        ("timeout = 'soon'", "timeout"),
        ("requests = 3", "requests"),
    ],
)
def test_limits_of_a_provider_that_make_no_sense_are_refused(
    tmp_path: Path, line: str, words: str
) -> None:
    (tmp_path / "ucop.toml").write_text(f"[providers.openai]\n{line}\n")
    with pytest.raises(InvalidSettings, match=words) as caught:
        Settings.load(tmp_path)
    assert "providers.openai" in str(caught.value)


def test_limits_of_a_provider_are_read(tmp_path: Path) -> None:
    (tmp_path / "ucop.toml").write_text(
        "[providers.openai]\nrequests_per_minute = 60\nidle_timeout = 5\nretries = 0\n"
    )
    limits = Settings.load(tmp_path).providers["openai"]
    assert (limits.requests_per_minute, limits.idle_timeout, limits.retries) == (60, 5.0, 0)
