"""The file of a SQLite database, under the one name that all its users share.

SQLite keeps its log, and ucop its locks, beside the file: under its name. Whoever came by a
symlink would otherwise look for locks where nobody else holds them, and take every worker for dead.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from ..dialect import SQLITE_PREFIX
from ..errors import DatabaseError


def file_of(url: str) -> Path:
    """The real path of the file in a `sqlite:///…` URL: symlinks and `..` are followed.

    Raises DatabaseError where the file has a second name that is a hard link: each name would have a log of
    its own, and the file would be damaged.
    """
    path = Path(url.removeprefix(SQLITE_PREFIX))
    try:
        real = path.resolve()
        links = real.stat().st_nlink if real.is_file() else 1
    except (OSError, RuntimeError) as error:  # RuntimeError: a symlink that leads to itself
        raise DatabaseError(f"{path}: the path cannot be followed: {error}") from error
    if links > 1:
        raise DatabaseError(
            f"{real}: the file has {links} names (hard links), and each would have a write-ahead "
            "log of its own, which damages the database. Delete the other names, or make them "
            f"symlinks; `find / -samefile {real}` lists them"
        )
    return real


def is_left_alone(path: Path) -> bool:
    """Whether nobody can write the file, and no write-ahead log is there."""
    log = path.with_name(path.name + "-wal")
    return is_on_read_only_disk(path) and not (log.exists() and log.stat().st_size)


def is_on_read_only_disk(path: Path) -> bool:
    try:
        return bool(os.statvfs(path.parent).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def sweep_log(path: Path) -> None:
    """Let SQLite delete an empty write-ahead log that nobody uses any more.

    A connection that only reads makes one, and cannot delete it at its end.
    """
    log = path.with_name(path.name + "-wal")
    with suppress(OSError, sqlite3.Error):
        if log.stat().st_size == 0:
            file = f"{path.as_uri()}?mode=rw"  # never a new one
            with closing(sqlite3.connect(file, uri=True, timeout=0, isolation_level=None)) as last:
                last.execute("select 1 from sqlite_master limit 1").fetchall()
