"""`ucop init`: a small project that works."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from ...view.exits import UsageProblem
from ...view.output import note, put, put_json
from .. import options


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="The folder; created if it does not exist.")
    ] = Path(),
    json: options.Json = False,
) -> None:
    """Write a small working project into a folder.

    Settings, a workflow with an agent of its own, an agent in Python. Overwrites nothing: it refuses where one of its files exists.
    """
    from ..starter import FILES

    _refuse_existing(folder, [folder / path for path in FILES])
    try:
        for path, text in FILES.items():
            _write(folder / path, text)
    except OSError as error:
        raise UsageProblem(f"{error.filename}: {error.strerror}") from error
    written = [str(folder / path) for path in FILES]
    put_json(written) if json else put("\n".join(written))
    note("try it:")
    if folder != Path():
        note(f"  cd {shlex.quote(str(folder))}")
    note("  ucop run greet -i name=Ada")


def _refuse_existing(folder: Path, files: list[Path]) -> None:
    if there := [str(file) for file in files if file.exists()]:
        raise UsageProblem(
            f"{', '.join(there)}: exists already, and nothing is overwritten; "
            f"name another folder: ucop init {folder / 'my-project'}"
        )


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    # "x": also a file that appeared just now is kept.
    with file.open("x", encoding="utf-8") as stream:
        stream.write(text)
