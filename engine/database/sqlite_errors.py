"""SQLite's errors and the file system's, as errors that say what to do."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from ..errors import DatabaseBusy, DatabaseDamaged, DatabaseError
from .database_file import is_on_read_only_disk


class explained:
    """Raises such an error in place of one that is raised inside. A class, because it is entered
    for each statement, and a generator would cost three times as much."""

    __slots__ = ("_path",)

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is not None and (told := _explanation(error, self._path)) is not None:
            raise _at(self._path, told) from error


def _explanation(error: BaseException, path: Path) -> DatabaseError | None:
    if isinstance(error, sqlite3.DataError):
        return None  # a value too big for SQLite: the job's own error
    if isinstance(error, sqlite3.Error):
        return explain(error, path)
    if isinstance(error, PermissionError):
        return DatabaseError(
            f"{path}: no permission ({error.strerror}); make the folder {path.parent} writable "
            "for this user, or name another database with --database or UCOP_DATABASE"
        )
    if isinstance(error, OSError):
        return DatabaseError(
            f"{path}: {error.strerror or error}; the folder {path.parent} must be on a disk that "
            "can be written. Name another database with --database or UCOP_DATABASE"
        )
    return None


def _at(path: Path, error: DatabaseError) -> DatabaseError:
    error.place = str(path)
    return error


def explain(error: sqlite3.Error, path: Path) -> DatabaseError:
    """What SQLite's error means for the user."""
    text = str(error)
    name = getattr(error, "sqlite_errorname", "") or ""
    kept = "what was accepted before is kept, and jobs go on when the cause is gone"
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")) or "locked" in text:
        return DatabaseBusy(
            f"{path}: another process has held the database's write lock too long; "
            "`ucop jobs list` still reads. Stop the process that hangs, then try again"
        )
    if name.startswith("SQLITE_FULL") or "disk is full" in text:
        free = _free(path)
        return DatabaseError(f"{path}: the disk is full ({free} free); make room; {kept}")
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN")) and is_on_read_only_disk(path):
        return DatabaseError(
            f"{path}: the disk is read-only; mount it writable, or name another database with "
            f"--database or UCOP_DATABASE; {kept}"
        )
    if name.startswith("SQLITE_READONLY") or "readonly" in text:
        return DatabaseError(
            f"{path}: the database cannot be written: make the file and its folder writable "
            f"for this user; {kept}"
        )
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")) or "malformed" in text:
        return DatabaseDamaged(
            f"{path}: the file is damaged, or no SQLite database ({text}). Restore a backup, or "
            f"save what can be read with `sqlite3 {path.name} .recover`; to start anew, move the "
            "file away"
        )
    if name.startswith("SQLITE_CANTOPEN") or "unable to open" in text:
        return DatabaseError(
            f"{path}: cannot be opened; the folder must exist and be writable for this user"
        )
    if name.startswith("SQLITE_IOERR"):
        return DatabaseError(f"{path}: the disk gives errors ({text}); {kept}")
    return DatabaseError(f"{path}: {text}")


def _free(path: Path) -> str:
    try:
        stat = os.statvfs(path.parent)
    except OSError:
        return "unknown"
    return f"{stat.f_bavail * stat.f_frsize // 1024} KiB"
