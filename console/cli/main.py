"""The `ucop` command: its commands, and the one place where errors become exit codes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ucop.engine.errors import InvalidDefinition, UcopError

from ..view import streams
from ..view.exits import Exit, UsageProblem, exit_of_error
from ..view.findings import tell_findings
from ..view.output import close_quietly, note
from ..view.place import Place, place_with
from . import options
from .command_table import COMMANDS, Group
from .typed_text import refuse_bytes


class Commands(Mapping[str, Any]):
    """The commands of a table, each loaded when it is asked for. Each also takes the options
    `everywhere`."""

    def __init__(self, table: Mapping[str, str | Group], everywhere: Sequence[Any]) -> None:
        self._table, self._everywhere = table, everywhere

    def __getitem__(self, name: str) -> Any:
        entry = self._table[name]
        if isinstance(entry, Group):
            commands = Commands(entry.commands, self._everywhere)
            return CommandGroup(name, commands, help=entry.help)
        module, _, function = entry.partition(":")
        app = typer.Typer(rich_markup_mode=None, add_completion=False)
        app.command(name)(getattr(import_module(f".{module}", __package__), function))
        command = typer.main.get_command(app)
        command.params += self._everywhere
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)


class CommandGroup(TyperGroup):
    """Lists the names of its commands without loading the commands."""

    def __init__(self, name: str | None, commands: Mapping[str, Any], **settings: Any) -> None:
        settings = {"no_args_is_help": True, "rich_markup_mode": None, **settings}
        super().__init__(name=name, **settings)
        self.commands = commands  # type: ignore[assignment]

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return list(self.commands)


def _own(option: Any) -> Any:
    """An option of `ucop` as one of a command's own, which overrides it."""
    own = copy(option)
    own.expose_value, own.callback = False, _keep_place
    return own


def _keep_place(ctx: typer.Context, option: Any, value: str | None) -> None:
    if value is not None:
        ctx.obj = place_with(ctx, **{option.name: value})


class Ucop(CommandGroup):
    """All commands; an error that ucop can explain becomes a message and an exit code."""

    def __init__(self, *, name: str | None, params: Sequence[Any], **settings: Any) -> None:
        own = [_own(option) for option in params if option.name in ("project", "database")]
        settings["commands"] = Commands(COMMANDS, own)
        super().__init__(name, params=params, **settings)

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        try:
            return super().invoke(ctx)
        except InvalidDefinition as error:
            tell_findings(error.findings, _folders(ctx.obj))
            raise typer.Exit(Exit.USAGE) from error
        except UcopError as error:
            note(f"error: {error}")
            raise typer.Exit(exit_of_error(error)) from error


app = typer.Typer(
    name="ucop",
    cls=Ucop,
    help="Durable jobs for LangGraph agent workflows.",
    no_args_is_help=True,
    # Plain text: it reads the same in a pipe, and --help stays quick.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"ucop {version('ucop')}")
        raise typer.Exit


@app.callback()
def everywhere(
    ctx: typer.Context,
    project: options.Project = None,
    database: options.Database = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Durable jobs for LangGraph agent workflows."""
    ctx.obj = Place(project=project, database=database)


def main() -> None:
    """Run the command that was typed; never returns."""
    streams.complete()
    try:
        code = _run()
        streams.stdout().flush()
    except BrokenPipeError:
        close_quietly()
        code = Exit.OK
    except OSError as error:
        code = _tell_trouble(error)
    streams.settle()
    raise SystemExit(code)


def _run() -> int:
    try:
        refuse_bytes()
        app(prog_name="ucop")
    except UsageProblem as error:
        note(f"error: {error}")
        return Exit.USAGE
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else Exit.FAILED
    except BrokenPipeError:
        raise
    except OSError as error:
        return _tell_trouble(error)
    except Exception as error:  # noqa: BLE001 - the boundary of the process: a defect, or the machine
        return _tell_defect(error)
    return Exit.OK


def _tell_trouble(error: OSError) -> int:
    """The machine is in the way: a full disk, a file that may not be written."""
    if os.environ.get("UCOP_DEBUG"):
        raise error
    close_quietly()
    where = f"{error.filename}: " if error.filename is not None else ""
    note(f"error: {where}{error.strerror or error}")
    return Exit.FAILED


def _tell_defect(error: Exception) -> int:
    if os.environ.get("UCOP_DEBUG"):
        raise error
    note(f"error: {type(error).__name__}: {error}")
    note("internal error. Set UCOP_DEBUG=1 for the traceback, and report it as a bug")
    return Exit.DEFECT


def _folders(place: Place) -> list[Path]:
    """Where the files of findings may be: the project's folder, and ucop's own."""
    from importlib.util import find_spec

    floors = [find_spec(f"ucop.{floor}") for floor in ("agents", "graphs")]
    own = [Path(spec.origin).parent for spec in floors if spec and spec.origin]
    return [place.settings.root, *own]


if __name__ == "__main__":
    main()
