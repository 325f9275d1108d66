"""The `ucop` command: its commands, and the one place where errors become exit codes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ucop.console.cli import (
    agents,
    answers,
    checkpoints,
    draw,
    jobs,
    language,
    models,
    options,
    project,
    run,
    worker,
    workflows,
)
from ucop.console.cli.exits import Exit, exit_of_error
from ucop.console.cli.findings import tell_findings
from ucop.console.cli.output import close_quietly, note
from ucop.console.cli.place import Place
from ucop.engine.errors import InvalidDefinition, UcopError


class Ucop(TyperGroup):
    """All commands; an error that ucop can explain becomes a message and an exit code."""

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

app.command()(run.run)
app.command()(run.generate)
app.command()(worker.worker)
app.add_typer(jobs.app, name="jobs")
jobs.app.command()(answers.inbox)
jobs.app.command()(answers.answer)
app.add_typer(checkpoints.app, name="checkpoints")
app.add_typer(workflows.app, name="workflows")
workflows.app.command()(draw.draw)
workflows.app.command()(language.schema)
app.add_typer(agents.app, name="agents")
app.add_typer(models.app, name="models")
app.command()(project.init)


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
    # A stdout that cannot show a character still shows the rest.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        code = _run()
        sys.stdout.flush()
    except BrokenPipeError:
        close_quietly()
        code = Exit.OK
    raise SystemExit(code)


def _run() -> int:
    try:
        app(prog_name="ucop")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else Exit.FAILED
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - the boundary of the process: a defect, or the machine
        return _tell_defect(error)
    return Exit.OK


def _tell_defect(error: Exception) -> int:
    if os.environ.get("UCOP_DEBUG"):
        raise error
    note(f"error: {type(error).__name__}: {error}")
    note("this was not foreseen; UCOP_DEBUG=1 shows where it came from, for a bug report")
    return Exit.DEFECT


def _folders(place: Place) -> list[Path]:
    """Where the files of findings may be: the project's folder, and ucop's own."""
    from importlib.util import find_spec

    floors = [find_spec(f"ucop.{floor}") for floor in ("agents", "graphs")]
    own = [Path(spec.origin).parent for spec in floors if spec and spec.origin]
    return [place.settings.root, *own]


if __name__ == "__main__":
    main()
