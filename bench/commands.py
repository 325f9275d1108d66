"""`python -m bench.commands`: the processor time of commands, compared with `ucop jobs list`.

Each command is a process of its own; all take turns, so that a busy machine slows all alike. Only
ratios of one run say anything. `--against FOLDER` measures the commands of another working tree in
the same run, with the interpreter of its `.venv`; `--write` puts the table into docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.__main__ import write

BASE = "jobs list"
MOST = 1.5
"""What a command of one transaction may cost at most, in times of `jobs list`."""

LIGHT = (
    BASE,
    "jobs pause ID",
    "jobs resume ID --detach",
    "jobs archive --workflow nothing --yes",
    "jobs prune",
    "queues set default --concurrency 5",
    "queues pause default",
    "queues resume default",
    "schedules add daily hello 'every 24h' --replace",
    "schedules pause daily",
    "schedules resume daily",
    "schedules trigger daily",
    "checkpoints list ID",
    "checkpoints prune ID",
    "memory list",
    "memory forget shared",
    "models list",
    "webhooks list",
    "webhooks retry --dead",
)
OTHERS = ("run hello --dry-run", "workflows check", "agents list", "run hello")

FILES = {
    "ucop.toml": 'workflows = ["hello.yaml"]\nagents = ["agents.py"]\n[retention]\nfailed = "30d"\n',
    "hello.yaml": "name: hello\nnodes:\n  say: {agent: greet, writes: said}\noutput: ${said}\n",
    "agents.py": (
        "from ucop.agents import agent\n\n\n@agent\ndef greet() -> str:\n"
        '    """Say hello."""\n    return "hello"\n'
    ),
}


class Tree:
    """A working tree of ucop, and a project in which its commands run."""

    def __init__(self, python: Path, folder: Path) -> None:
        self._python, self._folder = python, folder
        for name, text in FILES.items():
            (folder / name).write_text(text, encoding="utf-8")
        # Modules are compiled once, as they are where ucop is installed.
        self._env = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
        self._env |= {"UCOP_EMBEDDED": "false", "OLLAMA_HOST": "127.0.0.1:9"}
        self._env.pop("PYTHONDONTWRITEBYTECODE", None)
        self._run("run", "hello", "--detach")
        listed = self._run("jobs", "list", "--json").stdout
        self._job = str(json.loads(listed)[0]["id"])

    def seconds(self, command: str) -> float:
        """Of the processor, user and system, for one process."""
        args = [self._job if word == "ID" else word for word in shlex.split(command)]
        process = subprocess.Popen(
            self._command(*args),
            cwd=self._folder,
            env=self._env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)  # it was waited for here
        if process.returncode:
            raise RuntimeError(f"{command} ended with {process.returncode}")
        return usage.ru_utime + usage.ru_stime

    def _command(self, *args: str) -> list[str]:
        return [str(self._python), "-m", "ucop.console.cli", *args]

    def _run(self, *args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._command(*args),
            cwd=self._folder,
            env=self._env,
            capture_output=True,
            text=True,
            check=True,
        )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.commands", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--against", type=Path, metavar="FOLDER")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as ours, tempfile.TemporaryDirectory() as theirs:
        trees = [Tree(Path(sys.executable), Path(ours))]
        if options.against is not None:
            trees.append(Tree(options.against / ".venv/bin/python", Path(theirs)))
        spent = _measure(trees, options.rounds)
    table, missed = _table(spent)
    print(table)
    if options.write:
        write("commands", table)
    return 1 if missed else 0


def _measure(trees: Sequence[Tree], rounds: int) -> dict[str, list[float]]:
    """Medians by command, of each tree."""
    commands = (*LIGHT, *OTHERS)
    for command in commands:
        for tree in trees:
            tree.seconds(command)  # compiles
    took: dict[str, list[list[float]]] = {name: [[] for _ in trees] for name in commands}
    for _ in range(rounds):
        for command in commands:
            for tree, each in zip(trees, took[command], strict=True):
                each.append(tree.seconds(command))
    return {name: [statistics.median(each) for each in of] for name, of in took.items()}


def _table(spent: dict[str, list[float]]) -> tuple[str, list[str]]:
    base = spent[BASE][0]
    before = len(spent[BASE]) > 1
    rows = ["| command | times `jobs list` |" + (" before |" if before else "")]
    rows.append("|---|---|" + ("---|" if before else ""))
    missed = []
    for command, (now, *others) in spent.items():
        if command in LIGHT and now > MOST * base:
            missed.append(command)
        rows.append(
            f"| `{command}` | {now / base:.2f} |" + "".join(f" {t / base:.2f} |" for t in others)
        )
    return "\n".join(rows), missed


if __name__ == "__main__":
    sys.exit(main())
