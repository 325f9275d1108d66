"""A process that has imported ucop, has no threads, and becomes `python -m …` again and again.

To import LangGraph and the rest takes two seconds of a processor; a fork of a process that has
done it takes milliseconds. What is forked is a process like any other, with its own number,
streams, folder, environment, signals and end, and must find everything as after a start of its own:
tests/acceptance/test_zygote.py compares the two. It cannot be where a variable is set that was read
while importing: so the zygote tells which these are, and `process.py` starts such a command anew.

Run by process.py as `python -m tests.support.zygote SOCKET`. Each packet on the socket is an order,
and is answered with one. It ends, and its children with it, at the end of input.
"""

from __future__ import annotations

import ctypes
import gc
import io
import json
import os
import pkgutil
import runpy
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

PR_SET_PDEATHSIG = 1
PACKET = 1 << 20

FLOORS = ("ucop.agents", "ucop.graphs", "ucop.engine", "ucop.console")
LATE = (
    "alembic.command", "alembic.config", "jsonschema", "langgraph.checkpoint.postgres.aio",
    "langgraph.graph", "langchain_core.language_models.chat_models",
    "langchain_core.language_models.chat_model_stream", "langchain_core.runnables.graph",
    "langchain_core.tracers.context", "langchain_core.tracers.run_collector",
    "langchain_core.tracers.stdout", "ruamel.yaml", "sqlalchemy.dialects.sqlite",
    "typer._adapters", "uvloop",
)  # fmt: skip
"""What commands import only at work."""

NEVER = ("__main__", "_trial_child", "env", "versions", "ollama", "ollama_embed")
"""Modules that do their work when they are imported. The library of Ollama, that the last two
import, makes a client for the host that OLLAMA_HOST names then."""


def warm() -> None:
    """Import what commands import; start no thread, open no connection."""
    for floor in FLOORS:
        _import_below(floor)
    for name in LATE:
        import_module(name)


def _import_below(package: str) -> None:
    for found in pkgutil.iter_modules(import_module(package).__path__, f"{package}."):
        if found.name.rpartition(".")[2] in NEVER:
            continue
        if found.ispkg:
            _import_below(found.name)
        else:
            import_module(found.name)


@contextmanager
def variables_read() -> Iterator[dict[str, str | None]]:
    """The environment's variables that are read meanwhile, as they were before."""
    kind, before = type(os.environ), dict(os.environ)
    read: dict[str, str | None] = {}
    plain = kind.__getitem__

    def noted(self: Any, name: str) -> str:
        read[name] = before.get(name)
        return plain(self, name)

    kind.__getitem__ = noted  # type: ignore[method-assign]
    try:
        yield read
    finally:
        kind.__getitem__ = plain  # type: ignore[method-assign]


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    orders = socket.socket(fileno=int(sys.argv[1]))
    given = dict(os.environ)
    import_module("croniter")  # by DBOS: gives all variables to a command that it runs
    writes, sys.dont_write_bytecode = not sys.dont_write_bytecode, False
    with variables_read() as read:
        warm()  # and compile, also for those that start anew
    sys.dont_write_bytecode = not writes
    set_by_imports = {k: v for k, v in os.environ.items() if given.get(k) != v}
    gc.collect()
    gc.freeze()
    orders.send(json.dumps({"read": read, "set": set_by_imports}).encode())
    found = _serve(orders)
    if found is None:
        return
    order, streams = found
    orders.close()
    _become(order, streams, set_by_imports)
    # From here on, as `python -m` does: what this returns or raises ends the process.
    runpy.run_module(order["module"], run_name="__main__", alter_sys=True)


def _serve(orders: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """In the zygote: obey until the end, and return None. In each child: what it shall be."""
    children: set[int] = set()
    while True:
        packet, streams, _, _ = socket.recv_fds(orders, PACKET, 3)
        if not packet:
            break
        order = json.loads(packet)
        if order["verb"] == "wait":
            children.discard(order["pid"])
            _, status = os.waitpid(order["pid"], 0)
            orders.send(json.dumps({"code": os.waitstatus_to_exitcode(status)}).encode())
            continue
        assert len(os.listdir("/proc/self/task")) == 1, "a process with threads must not fork"
        pid = os.fork()
        if pid == 0:
            return order, streams
        children.add(pid)
        for stream in streams:
            os.close(stream)
        orders.send(json.dumps({"pid": pid}).encode())
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return None


def _become(order: dict[str, Any], streams: list[int], set_by_imports: dict[str, str]) -> None:
    """In a child: be as a process that has just begun."""
    # Nothing outlives a zygote, however it ends.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if order["session"]:
        os.setsid()
    for ours, theirs in enumerate(streams):
        os.dup2(theirs, ours)
        os.close(theirs)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update({**set_by_imports, **order["environment"]})
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.path[0] = os.getcwd()
    sys.argv[1:] = order["args"]
    sys.orig_argv[:] = [sys.executable, "-m", order["module"], *order["args"]]
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = _stream(number, "w" if number else "r")
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _stream(number: int, mode: str) -> io.TextIOWrapper:
    """As Python's `create_stdio` makes it."""
    like = (sys.__stdin__, sys.__stdout__, sys.__stderr__)[number]
    assert isinstance(like, io.TextIOWrapper)
    raw = io.FileIO(number, mode, closefd=False)
    raw.name = like.name
    buffer: Any = raw
    if mode == "r" or not like.write_through:  # as PYTHONUNBUFFERED wants it
        buffer = io.BufferedReader(raw) if mode == "r" else io.BufferedWriter(raw)
    text = io.TextIOWrapper(
        buffer,
        encoding=like.encoding,
        errors=like.errors,
        newline=None if mode == "r" else "\n",
        line_buffering=not like.write_through and (number == 2 or raw.isatty()),
        write_through=like.write_through,
    )
    text.mode = mode  # type: ignore[misc]
    return text


if __name__ == "__main__":
    main()
