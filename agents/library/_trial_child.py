"""Runs a function's tests in a process of its own: `python -I -S -B _trial_child.py`.

Started by `trial.py` and never imported. The first line of stdin is the order as JSON, the
report goes to stdout, one JSON object a line; what the code itself prints goes to stderr.
It needs nothing but the standard library.
"""

from __future__ import annotations

import ast
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

SHOWN = 300
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
REFUSED = (
    "socket.", "subprocess.", "ctypes.", "shutil.", "pty.", "os.system", "os.exec", "os.fork",
    "os.posix_spawn", "os.spawn", "os.startfile", "os.kill", "os.remove", "os.rename", "os.rmdir",
    "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown", "os.chflags",
    "os.setxattr", "os.removexattr", "os.utime", "signal.pthread_kill",
)  # fmt: skip


def main() -> None:
    order = json.loads(sys.stdin.readline())
    report = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(record: dict[str, Any]) -> None:
        report.write(json.dumps(record) + "\n")
        report.flush()

    tell({"limits": limit(order["seconds"], order["megabytes"])})
    guard(os.getcwd())
    run(order, tell)
    tell({"end": True})


# ---- limits ----


def limit(seconds: int, megabytes: int) -> list[str]:
    """Set what the platform can set; the names of the limits that hold."""
    held = ["time"]
    if sys.platform == "win32":
        return held
    import resource

    # The parent kills at about this time; the alarm is for a parent that is gone.
    signal.alarm(seconds + 1)
    wanted = {
        "cpu": (resource.RLIMIT_CPU, seconds, seconds + 1),
        "memory": (resource.RLIMIT_AS, megabytes << 20, megabytes << 20),
        "file-size": (resource.RLIMIT_FSIZE, 1 << 20, 1 << 20),
        "open-files": (resource.RLIMIT_NOFILE, 32, 32),
        "core": (resource.RLIMIT_CORE, 0, 0),
    }
    if os.getuid() != 0:  # it counts a user's processes, and does not bind root
        wanted["processes"] = (resource.RLIMIT_NPROC, 0, 0)
    if without_network():
        held.append("network")
    for name, (which, soft, hard) in wanted.items():
        try:
            resource.setrlimit(which, (soft, hard))
        except (OSError, ValueError):
            continue
        held.append(name)
    if sys.platform == "darwin" and "memory" in held:
        held.remove("memory")  # accepted there, and not enforced
    return held


def without_network() -> bool:
    """Enter a network namespace without any interface, where Linux gives one to this user."""
    if sys.platform != "linux":
        return False
    try:
        import ctypes

        user, network = 0x10000000, 0x40000000  # CLONE_NEWUSER, CLONE_NEWNET
        return bool(ctypes.CDLL(None).unshare(user | network) == 0)
    except (ImportError, OSError, AttributeError):
        return False


def guard(folder: str) -> None:
    """Refuse what the tests of a function do not need. It stops accidents, and no attacker."""
    folder = os.path.realpath(folder)
    library = os.path.realpath(os.path.dirname(os.__file__))

    def within(path: str, root: str) -> bool:
        return path == root or path.startswith(root + os.sep)

    def watch(event: str, args: tuple[Any, ...]) -> None:
        if event.startswith(REFUSED):
            raise PermissionError(f"{event} is not allowed here")
        if event == "open" and isinstance(args[0], str | bytes):
            path = os.path.realpath(os.fsdecode(args[0]))
            reads = not (args[2] or 0) & WRITING
            if not within(path, folder) and not (reads and within(path, library)):
                raise PermissionError(f"the file {args[0]!r} is outside this folder")

    sys.addaudithook(watch)


# ---- tests ----


def run(order: dict[str, Any], tell: Callable[[dict[str, Any]], None]) -> None:
    """Load the solution, then run every test of it, and tell of each."""
    solution = ModuleType("solution")
    sys.modules["solution"] = solution
    try:
        exec(compile(order["code"], "solution.py", "exec"), solution.__dict__)  # noqa: S102
        getattr(solution, order["name"])
    except BaseException as error:  # noqa: BLE001 - whatever the code does is told
        tell({"load": described(error)})
        return
    scope = {**solution.__dict__, "__name__": "tests"}
    for title, test in tests_of(ast.parse(order["tests"], "tests.py"), scope):
        try:
            test()
        except BaseException as error:  # noqa: BLE001
            tell({"test": title or "", "passed": False, "error": described(error)})
        else:
            if title:
                tell({"test": title, "passed": True, "error": None})


def tests_of(tree: ast.Module, scope: dict[str, Any]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Each assert and expression at the top is a test, and so is each function test_….

    Other statements prepare, and have no title.
    """
    for statement in tree.body:
        is_test = isinstance(statement, ast.Assert | ast.Expr)
        title = ast.unparse(statement)[:SHOWN] if is_test else ""
        yield title, partial(execute, Telling().visit(statement), scope)
        if isinstance(statement, ast.FunctionDef) and statement.name.startswith("test"):
            yield statement.name, partial(call, statement.name, scope)


def call(name: str, scope: dict[str, Any]) -> None:
    scope[name]()


def execute(statement: ast.stmt, scope: dict[str, Any]) -> None:
    module = ast.fix_missing_locations(ast.Module([statement], []))
    exec(compile(module, "tests.py", "exec"), scope)  # noqa: S102


class Telling(ast.NodeTransformer):
    """Lets `assert a == b` say what a was; the message is made only if it fails."""

    def visit_Assert(self, node: ast.Assert) -> ast.Assert:
        if node.msg is not None:
            return node
        if not isinstance(node.test, ast.Compare) or len(node.test.ops) != 1:
            node.msg = ast.Constant(f"{ast.unparse(node.test)[:SHOWN]} does not hold")
            return node
        left = ast.unparse(node.test.left)
        node.msg = ast.parse(f"{left[:SHOWN]!r} + ' is ' + repr({left})", mode="eval").body
        return node


def described(error: BaseException) -> str:
    """An exception in one line."""
    lines = "".join(traceback.format_exception_only(type(error), error)).strip().splitlines()
    last = lines[-1] if lines else type(error).__name__
    if isinstance(error, SyntaxError) and error.text:
        last = f"{last} in line {error.lineno}: {error.text.strip()}"
    return last.removeprefix("AssertionError: ")[:SHOWN]


main()
