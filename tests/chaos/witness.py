"""A record of what really ran, outside the database: one line for each beginning and end.

Appended with one `write` to a file opened O_APPEND, so that the lines of many processes stay
whole, and what a killed process wrote before is there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

WITNESS = "CHAOS_WITNESS"
"""Environment variable with the file's path."""


@dataclass(frozen=True)
class Record:
    what: str
    """`begin` and `end` of a visit, `ready` of a worker, or what a script tells."""
    pid: int
    name: str = ""
    """The job's name in its input; ids are not known to nodes."""
    label: str = ""
    """The visit: node, round, item."""


class Witness:
    def __init__(self, path: Path | None = None) -> None:
        self.path = path or Path(os.environ[WITNESS])
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)

    def tell(self, what: str, name: str = "", label: str = "") -> None:
        line = json.dumps([what, os.getpid(), name, label]) + "\n"
        os.write(self._file, line.encode())

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    def records(self, after: int = 0) -> Iterator[Record]:
        with self.path.open("rb") as file:
            file.seek(after)
            for line in file:
                if line.endswith(b"\n"):
                    yield Record(*json.loads(line))

    def close(self) -> None:
        os.close(self._file)
