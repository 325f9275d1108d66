"""docs/cli.md and the command agree: neither names what the other lacks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import typer

from tests.support.paths import DOCS
from ucop.console.cli.main import app

PAGE = DOCS / "cli.md"
EVERYWHERE = {"--help", "--project", "--database", "--json"}
"""Options that the page explains once for all commands."""


def commands(group: Any, path: tuple[str, ...] = ("ucop",)) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def options(command: Any) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts if name[0] == "-"}


COMMAND: Any = typer.main.get_command(app)
COMMANDS: Mapping[str, Any] = dict(commands(COMMAND))


def sections() -> dict[str, str]:
    """The page's sections about commands, by command."""
    parts = re.split(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.M)
    return {
        title: text
        for title, text in zip(parts[1::2], parts[2::2], strict=True)
        if title.startswith("ucop")
    }


def test_every_command_has_a_section_and_an_example() -> None:
    assert set(sections()) == set(COMMANDS)
    for name, text in sections().items():
        assert f"$ {name}" in text, f"{name} has no example"


def test_every_option_that_a_section_names_exists() -> None:
    for name, text in sections().items():
        known = options(COMMANDS[name]) | options(COMMAND)
        if name == "ucop generate":
            known |= options(COMMANDS["ucop run"])
        for option in re.findall(r"(?<![\w-])(--[a-z][a-z-]+|-[a-z])\b", text):
            assert option in known, f"{name} has no {option}"


def test_every_option_is_explained() -> None:
    for name, command in COMMANDS.items():
        text = sections()["ucop run" if name == "ucop generate" else name]
        unexplained = {o for o in options(command) - EVERYWHERE if f"`{o}" not in text}
        assert not unexplained, f"{name}: {unexplained}"


def test_every_command_takes_the_options_of_everywhere_where_they_mean_something() -> None:
    without = {"ucop init", "ucop models install", "ucop models serve"}
    for name, command in COMMANDS.items():
        assert name in without or {"--project", "--database"} <= options(command), name
        # A worker has nothing to say on stdout, and the console draws on it.
        assert name in {"ucop worker", "ucop console"} or "--json" in options(command), name


def test_every_line_that_begins_with_ucop_is_a_command() -> None:
    for line in re.findall(r"^\$ (ucop .+)$", PAGE.read_text(encoding="utf-8"), flags=re.M):
        words = [word for word in line.split() if not word.startswith(("-", "~", "/"))]
        named = [name for name in COMMANDS if " ".join(words).startswith(name)]
        assert named or "completion" in line, line
