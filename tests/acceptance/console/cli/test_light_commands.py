"""What each command imports, counted in a real process: a command that needs one transaction of the
ledger loads neither LangGraph, LangChain, DBOS nor a driver of the other database."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.command import Ucop
from tests.support.project import FILES

NEVER = ("langgraph", "langchain_core", "dbos", "sqlalchemy", "alembic", "textual", "aiosqlite")
"""Packages that no light command may import."""
RARELY = (
    "asyncio",
    "pydantic_settings",
    "httpx",
    "rich",
    "jsonschema",
    "ruamel",
    "psycopg",
    "ucop.agents.library.outline",
    "ucop.console.cli.commands.run",
    "ucop.engine.transfer.job_parts",
)
"""Packages, and modules that stand for others, that only those may import that name them below."""

WRITE = frozenset({"asyncio"})
SETTINGS = frozenset({"pydantic_settings", "asyncio"})  # the one imports the other
CHANGE = WRITE | SETTINGS
WORKFLOW = CHANGE | {"jsonschema", "ruamel"}
RUN = frozenset({"ucop.console.cli.commands.run"})
PLAN = WORKFLOW | RUN

LIGHT = {
    "jobs list": (),
    "jobs show QUEUED": (),
    "jobs pause QUEUED": WRITE,
    "jobs resume QUEUED --detach": WRITE | RUN,
    "jobs cancel QUEUED": WRITE,
    "jobs archive QUEUED": WRITE,
    "jobs archive QUEUED --undo": WRITE,
    "jobs delete QUEUED": WRITE,
    "jobs cancel --workflow nothing --yes": (),
    "jobs retry FAILED --detach": WRITE | RUN,
    "jobs answer WAITING 3 --detach": WRITE | RUN,
    "jobs prune": CHANGE,
    "queues list": SETTINGS,
    "queues set default --concurrency 5": CHANGE,
    "queues pause default": CHANGE,
    "queues resume default": CHANGE,
    "schedules add daily say 'every 24h' -i text=hello": PLAN,
    "schedules list": (),
    "schedules pause daily": WRITE,
    "schedules resume daily": WRITE,
    "schedules trigger daily": WORKFLOW,
    "schedules remove daily": WRITE,
    "checkpoints list FAILED": (),
    "checkpoints show FAILED": (),
    "checkpoints prune FAILED": WRITE,
    "memory list": SETTINGS,
    "memory forget shared": SETTINGS,
    "models list": CHANGE,
    "webhooks list": SETTINGS,
    "webhooks deliveries": WRITE,
    "webhooks retry --dead": WRITE,
    "workflows list": WORKFLOW,
    "agents list": WORKFLOW | {"ucop.agents.library.outline"},
    "run say -i text=hello --dry-run": PLAN,
}
"""Commands, in an order in which each can be carried out, and which of RARELY each may import."""

_TELL = """
import atexit, sys
atexit.register(lambda: print("modules:", *sys.modules, file=sys.stderr))
from ucop.console.cli.main import main
main()
"""


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
)
def worked(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Ucop, dict[str, str]]]:
    """A project with a queued, a failed and a waiting job, and the words that stand for them."""
    ucop = Ucop(tmp_path_factory.mktemp(request.param), extra={"UCOP_EMBEDDED": "false"})
    url = None
    if request.param == "postgres":
        server = request.getfixturevalue("postgres_server")
        url = ucop.extra["UCOP_DATABASE"] = server.fresh()
    for path, text in FILES.items():
        ucop.write(path, text)
    ucop.write("ucop.toml", FILES["ucop.toml"] + '[retention]\ncompleted = "30d"\n')
    assert ucop("run", "needy", "-i", "text=hello").code == 1
    assert ucop("run", "asking").code == 4
    assert ucop("run", "say", "-i", "text=hello", "--detach").code == 0
    queued, waiting, failed = (job["id"] for job in ucop("jobs", "list", "--json").json)
    yield ucop, {"QUEUED": queued, "WAITING": waiting, "FAILED": failed}
    ucop.close()
    if url is not None:
        server.drop(url)


def test_light_commands_import_only_what_they_need(worked: tuple[Ucop, dict[str, str]]) -> None:
    ucop, ids = worked
    on_postgres = "UCOP_DATABASE" in ucop.extra
    for command, may in LIGHT.items():
        args = [ids.get(word, word) for word in shlex.split(command)]
        done = subprocess.run(
            [sys.executable, "-c", _TELL, *args],
            cwd=ucop.folder,
            env=ucop.env,
            capture_output=True,
            text=True,
        )
        said, _, imported = done.stderr.partition("modules: ")
        assert done.returncode == 0, f"{command}: {said}"
        modules = set(imported.split())
        assert "ucop.console.cli.main" in modules
        allowed = {*may, *(("psycopg", "asyncio") if on_postgres else ())}
        loaded = [name for name in (*NEVER, *RARELY) if name in modules and name not in allowed]
        assert not loaded, f"{command} imports {loaded}"


def test_what_a_command_is_allowed_to_import_it_does_import(
    worked: tuple[Ucop, dict[str, str]],
) -> None:
    """Else the table above would promise less than is true."""
    ucop, _ = worked
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            _TELL,
            "schedules",
            "add",
            "daily",
            "say",
            "every 24h",
            "-i",
            "text=hi",
        ],
        cwd=ucop.folder,
        env=ucop.env,
        capture_output=True,
        text=True,
    )
    assert set(done.stderr.partition("modules: ")[2].split()) >= PLAN
