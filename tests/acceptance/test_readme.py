"""What README shows is what happens."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys

import pytest

from tests.support.command import Ucop
from tests.support.paths import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS: list[tuple[str, str]] = re.findall(
    r"^```(\w+)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE
)
FILES = {
    path: text
    for kind, text in BLOCKS
    if kind in ("python", "toml", "yaml")
    for path in re.findall(r"\A# (\S+)\n", text)
}
LINES = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]


@pytest.fixture
def readme(bare: Ucop) -> Ucop:
    """A folder with the files that README shows."""
    for path, text in FILES.items():
        bare.write(path, text)
    return bare


def test_every_file_that_is_shown_has_a_name() -> None:
    shown = [kind for kind, _ in BLOCKS if kind in ("python", "toml", "yaml")]
    assert len(FILES) == len(shown) == 6


def test_the_two_commands_name_the_uv_that_ci_uses() -> None:
    pins = set(re.findall(r"uv==(\S+)", README + (ROOT / ".ci" / "run").read_text()))
    assert len(pins) == 1


def test_every_link_leads_to_a_file() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_project_is_sound_and_its_workflows_run(readme: Ucop) -> None:
    lines = [line for line in LINES if re.match(r"ucop (run|workflows) ", line)]
    assert [readme.shell(line).code for line in lines] == [0, 0, 0]
    assert readme("run", "loud", "-i", "text=durable agents", "--json").json["output"] == {
        "words": ["DURABLE", "AGENTS"]
    }


def test_python_finds_the_projects_graph(readme: Ucop) -> None:
    said = script(readme, "greet.py")
    assert said == "{'name': 'Ada', 'greeting': 'Hello, Ada!'}\n"


@pytest.mark.model
@pytest.mark.timeout(600)
def test_python_writes_an_article(readme: Ucop) -> None:
    said = script(readme, "article.py", UCOP_EMBEDDED="true").splitlines()
    assert said[0].startswith("1 job.submitted ")
    output = ast.literal_eval(next(line for line in said if line.startswith("{'path'")))
    assert (readme.folder / output["path"]).read_text(encoding="utf-8").startswith("# ")
    assert any(re.match(r"research completed [1-9]", line) for line in said)
    again = script(readme, "article.py").splitlines()
    assert again == said, "the same key, so the same job"


def script(ucop: Ucop, file: str, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, file],
        cwd=ucop.folder,
        env={**os.environ, **ucop.env, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
