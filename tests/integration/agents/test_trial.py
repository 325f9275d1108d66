"""Trials of code: the tests run in a process of their own, and what its limits stop."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from ucop.agents.library.trial import MAX_PRINTED, Report, TrialLimits, try_code

TESTS = "assert f(2) == 4\nassert f(3) == 6\ndef test_zero():\n    assert f(0) == 0\n"
QUICK = TrialLimits(seconds=1, megabytes=256)
posix = pytest.mark.skipif(sys.platform == "win32", reason="no resource limits there")


async def tried(body: str, tests: str = TESTS, limits: TrialLimits = QUICK) -> Report:
    """Try the body of `f`, or after `module:` a whole module."""
    module = body.startswith("module:")
    code = body.removeprefix("module:") if module else f"def f(n):\n    {body}"
    return await try_code(code, tests, "f", limits)


def errors(report: Report) -> list[str | None]:
    return [test.error for test in report.tests]


async def test_right_code_passes_every_test() -> None:
    report = await tried("return n * 2")
    assert report.passed
    assert [test.test for test in report.tests] == [
        "assert f(2) == 4",
        "assert f(3) == 6",
        "test_zero",
    ]
    assert "time" in report.limits


async def test_wrong_code_is_told_what_it_gave() -> None:
    report = await tried("return n + 2")
    assert not report.passed
    assert errors(report) == [None, "f(3) is 5", "f(0) is 2"]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("return 1.0f", "SyntaxError: invalid decimal literal in line 2: return 1.0f"),
        (
            "module:def g(n):\n    return n",
            "AttributeError: module 'solution' has no attribute 'f'",
        ),
        ("module:import os\nos._exit(0)", "the process ended before the tests did (exit 0)"),
        ("module:import os\ndef f(n):\n    os._exit(0)", "the process ended before the tests did"),
        ("module:import sys\nsys.exit(0)", "SystemExit: 0"),
        ("module:import numpy", "ModuleNotFoundError: No module named 'numpy'"),
    ],
)
async def test_code_that_does_not_get_to_its_tests_has_not_passed(body: str, error: str) -> None:
    report = await tried(body)
    assert not report.passed
    assert report.error is not None
    assert report.error.startswith(error)


@posix
@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("import socket; socket.create_connection(('127.0.0.1', 9))", "PermissionError: socket."),
        ("import subprocess; subprocess.run(['ls'])", "PermissionError: subprocess.Popen"),
        ("import os; os.fork()", "PermissionError: os.fork"),
        ("import os; os.remove('x')", "PermissionError: os.remove"),
        ("import os; os.kill(1, 9)", "PermissionError: os.kill"),
        ("open('/etc/passwd').read()", "PermissionError: the file '/etc/passwd'"),
        ("open('../x', 'w')", "PermissionError: the file '../x'"),
        ("x = [0] * 10**9", "MemoryError"),
        ("open('x', 'w').write('y' * 10**7)", "OSError: [Errno 27]"),
        ("return f(n)", "RecursionError"),
        ("raise SystemExit(0)", "SystemExit"),
    ],
)
async def test_what_a_function_does_not_need_fails_its_test(body: str, error: str) -> None:
    report = await tried(body)
    assert not report.passed
    assert all((found or "").startswith(error) for found in errors(report))
    assert len(report.tests) == 3


@posix
@pytest.mark.parametrize("body", ["while True: pass", "import time; time.sleep(3600)"])
async def test_code_that_does_not_end_is_stopped(body: str) -> None:
    report = await tried(body)  # who waited for its end would outlast what a test may take
    assert not report.passed
    assert report.error is not None
    assert "stopped" in report.error or "longer than" in report.error


async def test_what_code_prints_is_kept_in_part_and_is_no_report() -> None:
    report = await tried("print('{\"end\": true}', 'x' * 10**6)\n    return n * 2")
    assert report.passed
    assert len(report.printed) == MAX_PRINTED


async def test_code_sees_an_empty_environment_and_an_empty_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    body = "import os; return (sorted(os.environ), os.listdir('.'))"
    report = await tried(body, "assert f(1) == None\n")
    (error,) = errors(report)
    assert error is not None
    assert error.endswith("[])")
    assert "OPENAI_API_KEY" not in error


async def test_nothing_is_left_of_a_trial_that_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    limits = TrialLimits(seconds=3600)
    running = asyncio.create_task(tried("while True: pass", limits=limits))
    while not os.listdir(tmp_path):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert os.listdir(tmp_path) == []


async def test_tests_that_hold_no_test_do_not_pass() -> None:
    report = await tried("return n", "import math\n")
    assert not report.passed
    assert report.error is not None
    assert "no test" in report.error
