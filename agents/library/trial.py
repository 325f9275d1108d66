"""One trial of a piece of code: its tests run in a fresh process, within limits.

What holds, and what does not: the process has its own empty folder, an empty environment, no
site-packages, and bounds of time, CPU, memory, file size and output (memory not on macOS, only
time and output on Windows). Python's audit events refuse files outside its folder, sockets and
new processes. On Linux it has no network where the user may have a namespace. That stops
mistakes and runaways. It is no sandbox for code that wants to break out: the process runs as
the same user on the same machine, and audit events can be got around.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

CHILD = Path(__file__).with_name("_trial_child.py")
MAX_REPORT = 256 * 1024
MAX_PRINTED = 4_000
"""Bytes kept of what the child reports, and of what its code prints."""
START_UP = 5.0
"""Seconds for Python to start, on a busy machine, beyond the limit of the tests."""


class TestResult(BaseModel):
    """One test of a trial."""

    __test__ = False  # for pytest, which collects names that begin so

    test: str
    passed: bool
    error: str | None


class Report(BaseModel):
    """What a trial found."""

    passed: bool
    tests: list[TestResult]
    error: str | None
    """Why the code could not be tried to the end; null if every test ran."""
    printed: str
    limits: list[str]
    """What bounded the process: time, cpu, memory, network (off), …"""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one trial may use."""

    seconds: int = 5
    megabytes: int = 256


async def try_code(code: str, tests: str, name: str, limits: Limits) -> Report:
    """Run `tests` on the function `name` of `code` in a process of their own."""
    order = {
        "code": code,
        "tests": tests,
        "name": name,
        "seconds": limits.seconds,
        "megabytes": limits.megabytes,
    }
    folder = tempfile.mkdtemp(prefix="ucop-trial-")
    try:
        return await _run(json.dumps(order), folder, limits)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _run(order: str, folder: str, limits: Limits) -> Report:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", "-B", "-X", "utf8", str(CHILD),
        cwd=folder, env=_environment(), stdin=PIPE, stdout=PIPE, stderr=PIPE,
        start_new_session=True,
    )  # fmt: skip
    try:
        async with asyncio.timeout(limits.seconds + START_UP):
            reported, printed, _ = await asyncio.gather(
                _read(process.stdout, MAX_REPORT),
                _read(process.stderr, MAX_PRINTED),
                _send(process, order),
            )
            await process.wait()
    except TimeoutError:
        return _failed_report(f"it ran for longer than {limits.seconds} s")
    finally:
        await _end(process)
    return _report(reported, printed.decode("utf-8", "replace"), process.returncode, limits)


def _environment() -> dict[str, str]:
    """Empty, but for what Windows needs to start a process."""
    return {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}


async def _send(process: Process, order: str) -> None:
    assert process.stdin is not None
    # A child that is gone already tells by its exit.
    with suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(order.encode() + b"\n")
        await process.stdin.drain()
    process.stdin.close()


async def _read(stream: asyncio.StreamReader | None, most: int) -> bytes:
    """The first bytes of a stream; the rest is read and dropped, so that nobody blocks."""
    assert stream is not None
    kept = b""
    while piece := await stream.read(65536):
        kept += piece[: max(0, most - len(kept))]
    return kept


async def _end(process: Process) -> None:
    """No process of the trial's session is left, whatever happened."""
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        elif process.returncode is None:
            process.kill()
    if process.returncode is None:
        await process.wait()


def _report(reported: bytes, printed: str, code: int | None, limits: Limits) -> Report:
    records = list(_records(reported))
    results = [TestResult(**record) for record in records if "test" in record]
    results = [result for result in results if result.test or not result.passed]
    load = next((record["load"] for record in records if "load" in record), None)
    held: list[str] = next((record["limits"] for record in records if "limits" in record), [])
    error = load
    if error is None and not any("end" in record for record in records):
        error = _ended_early(code, limits)
    if error is None and not results:
        error = "the tests hold no test: write asserts, or functions named test_…"
    return Report(
        passed=error is None and all(result.passed for result in results),
        tests=results,
        error=error,
        printed=printed,
        limits=held,
    )


def _records(reported: bytes) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for line in reported.decode("utf-8", "replace").splitlines():
        with suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict):
                found.append(record)
    return found


def _ended_early(code: int | None, limits: Limits) -> str:
    by_signal = {-getattr(signal, name, 0): name for name in ("SIGXCPU", "SIGKILL", "SIGALRM")}
    if code in by_signal and code != 0:
        return f"it was stopped ({by_signal[code]}): more than {limits.seconds} s of work"
    if code == -getattr(signal, "SIGXFSZ", 1000):
        return "it was stopped (SIGXFSZ): it wrote too large a file"
    return f"the process ended before the tests did (exit {code})"


def _failed_report(error: str) -> Report:
    return Report(passed=False, tests=[], error=error, printed="", limits=["time"])
