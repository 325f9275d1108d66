"""The wheel, as a stranger installs it: into an empty environment, far from the repository."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import ROOT

FLOORS = ("agents", "graphs", "engine", "console")

pytestmark = pytest.mark.timeout(600)

SETTINGS = """\
workflows = ["workflows/*.yaml"]
agents = ["agents.py"]
"""

WORKFLOW = """\
name: count
input: {text: string}
nodes:
  words: {agent: count_words, with: {text: "${text}"}, writes: words}
output: {words: "${words}"}
"""

AGENTS = '''\
from ucop.agents import agent


@agent
async def count_words(text: str) -> int:
    """Count words."""
    return len(text.split())
'''

SCRIPT = """\
from ucop.engine import Engine

with Engine.from_project() as engine:
    job = engine.submit("count", {"text": "one two three"}, key="from-python")
    print(job.result(timeout=60)["words"], job.status)
    print(*(step.node for step in job.steps()))
"""


def run(*command: str | Path, cwd: Path, **env: str) -> str:
    """Standard output of a command that must succeed, in an environment without ours."""
    ours = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT")
    kept = {k: v for k, v in os.environ.items() if k not in ours and not k.startswith("UCOP_")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**kept, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def uv() -> str:
    found = os.environ.get("UV") or shutil.which("uv")  # `uv run` names itself in UV
    assert found, "run the tests by `uv run`, or put uv on the path"
    return found


@dataclass(frozen=True)
class Built:
    """Wheels made from the same sources, straight and by way of the source distribution."""

    sources: Path
    wheel: Path
    from_sdist: Path


@pytest.fixture(scope="module")
def built(uv: str, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Built from a copy: setuptools leaves its traces beside the sources, and takes them up."""
    base = tmp_path_factory.mktemp("build")
    sources, wheels, again = base / "sources", base / "wheels", base / "again"
    for floor in FLOORS:
        shutil.copytree(
            ROOT / floor, sources / floor, ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
        )
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, sources)
    run(uv, "build", "--wheel", "--sdist", "--out-dir", wheels, sources, cwd=base)
    (sdist,) = wheels.glob("*.tar.gz")
    run(uv, "build", "--wheel", "--out-dir", again, sdist, cwd=base)
    (wheel,), (from_sdist,) = wheels.glob("*.whl"), again.glob("*.whl")
    return Built(sources, wheel, from_sdist)


@pytest.fixture(scope="module")
def stranger(uv: str, built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and what it depends on, in the versions of the lock."""
    base = tmp_path_factory.mktemp("stranger")
    locked = base / "locked.txt"
    export = ("export", "--locked", "--no-dev", "--no-emit-project", "--no-hashes", "--quiet")
    run(uv, *export, "--project", ROOT, "--output-file", locked, cwd=base)
    run(uv, "venv", "--quiet", "--python", sys.executable, "venv", cwd=base)
    python = base / "venv" / "bin" / "python"
    install = ("pip", "install", "--quiet", "--python", python, "--constraints", locked)
    run(uv, *install, built.wheel, cwd=base)
    return python.parent


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    for path, text in {
        "ucop.toml": SETTINGS,
        "agents.py": AGENTS,
        "workflows/count.yaml": WORKFLOW,
    }.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return folder


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_holds_every_file_of_the_floors_and_nothing_else(built: Built) -> None:
    code = {name for name in contents(built.wheel) if ".dist-info/" not in name}
    files = (file for floor in FLOORS for file in (built.sources / floor).rglob("*"))
    assert code == {f"ucop/{f.relative_to(built.sources)}" for f in files if f.is_file()}


def test_data_of_every_kind_is_in_the_wheel(built: Built) -> None:
    names = contents(built.wheel)
    for name in (
        "ucop/agents/library/researcher.yaml",
        "ucop/agents/library/checkpoints.md",
        "ucop/agents/embedded/chat.jinja",
        "ucop/graphs/library/blog.yaml",
        "ucop/engine/ledger/migrations/versions/0001_ledger.py",
        "ucop/console/terminal/console.tcss",
        *(f"ucop/{floor}/py.typed" for floor in FLOORS),
    ):
        assert name in names


def test_the_source_distribution_builds_the_same_wheel(built: Built) -> None:
    direct, indirect = contents(built.wheel), contents(built.from_sdist)
    assert direct.keys() == indirect.keys()
    assert [
        name for name in direct if direct[name] != indirect[name] and "RECORD" not in name
    ] == []


def test_only_ucop_is_added_to_what_can_be_imported(stranger: Path, project: Path) -> None:
    site = run(
        *(stranger / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"),
        cwd=project,
    ).strip()
    top = {entry.name for entry in Path(site).iterdir()}
    assert "ucop" in top
    assert not top & {"agents", "graphs", "engine", "console", "tests", "bench"}
    assert {entry.name for entry in (Path(site) / "ucop").iterdir()} == set(FLOORS)


def test_the_command_runs_a_job(stranger: Path, project: Path) -> None:
    ucop = stranger / "ucop"
    job: Any = json.loads(
        run(ucop, "run", "count", "-i", "text=to be or not to be", "--json", cwd=project)
    )
    assert (job["status"], job["output"]) == ("completed", {"words": 6})
    assert "completed" in run(ucop, "jobs", "show", job["id"], cwd=project)
    assert "blog" in run(ucop, "workflows", "list", cwd=project)


def test_python_runs_a_job(stranger: Path, project: Path) -> None:
    script = project / "submit.py"
    script.write_text(SCRIPT, encoding="utf-8")
    said = run(stranger / "python", script, cwd=project)
    assert said == "3 completed\nwords\n"


def test_the_bundled_workflow_is_checked_from_the_wheel(stranger: Path, project: Path) -> None:
    run(stranger / "ucop", "workflows", "check", "blog", cwd=project)
