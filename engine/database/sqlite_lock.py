"""Who holds SQLite's write lock: the one thing that a stopped process keeps from all others.

SQLite cannot tell, but the system can: in WAL mode the lock is a byte of the `-shm` file,
locked with fcntl, and fcntl names the process that has it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

STOPPED = frozenset("Tt")

# In a process of its own: closing any descriptor of that file would drop every lock that the
# closing process has on it, SQLite's own included. The byte is UNIX_SHM_BASE + WAL_WRITE_LOCK
# (https://sqlite.org/walformat.html#the_wal_index_file_format).
_ASK = """
import fcntl, struct, sys
BYTE = 120
mac = sys.platform == "darwin"
with open(sys.argv[1], "rb") as file:
    if mac:
        ask = struct.pack("@qqihh", BYTE, 1, 0, fcntl.F_WRLCK, 0)
        start, length, pid, kind, whence = struct.unpack(
            "@qqihh", fcntl.fcntl(file, fcntl.F_GETLK, ask))
    else:
        ask = struct.pack("@hhqqi0q", fcntl.F_WRLCK, 0, BYTE, 1, 0)
        kind, whence, start, length, pid = struct.unpack(
            "@hhqqi0q", fcntl.fcntl(file, fcntl.F_GETLK, ask))
    print(0 if kind == fcntl.F_UNLCK else pid)
"""


def holder(database: Path) -> int | None:
    """The process that holds the write lock, None where it is free or cannot be known."""
    memory = database.with_name(database.name + "-shm")
    asked = subprocess.run(  # noqa: S603 - our own interpreter and text
        [sys.executable, "-I", "-c", _ASK, str(memory)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    pid = asked.stdout.strip()
    return int(pid) if asked.returncode == 0 and pid.isdigit() and int(pid) > 0 else None


def is_stopped(pid: int) -> bool:
    """Whether the process was stopped by a signal or a debugger (Linux only; else False)."""
    fields = _stat(pid)
    return fields is not None and fields[0] in STOPPED


def started_before(pid: int, at: float) -> bool:
    """Whether the process began before a time (seconds since the epoch, Linux only): a
    process that began later has only inherited the number."""
    fields = _stat(pid)
    if fields is None:
        return False
    ticks = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return _boot_time() + ticks <= at + CLOCK_GRAIN


CLOCK_GRAIN = 2.0
"""Seconds: the time of boot is told in whole ones."""


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the third on: the second may hold any text."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def _boot_time() -> float:
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith("btime "):
            return float(line.split()[1])
    return float("inf")
