"""What is forked from a zygote is as what was started anew: see support/zygote.py."""

from __future__ import annotations

import json
import re
import shutil
import signal
from pathlib import Path

import pytest

from tests.support.command import ANSI, Done, Running, Ucop
from tests.support.process import Begin, Forked, execute, start
from tests.support.terminal import Terminal

PROBE = '''\
"""Tells all that a process can know of how it began."""

import asyncio, gc, json, locale, logging, os, signal, sys, threading, warnings

import ruamel.yaml, ucop.console.cli.commands.run, ucop.engine.engine, ucop.engine.queue.dbos


def stream(it):
    raw = getattr(it.buffer, "raw", it.buffer)
    names = "encoding", "errors", "line_buffering", "write_through", "mode", "name", "newlines"
    return [
        *(getattr(it, name) for name in names), it.isatty(), it.seekable(), raw.closefd, raw.mode,
        type(it).__name__, type(it.buffer).__name__, type(raw).__name__,
    ]


main = sys.modules["__main__"]
signals = [each for each in signal.valid_signals() if isinstance(each, signal.Signals)]
print(json.dumps({
    "argv": [sys.argv, sys.orig_argv, sys.executable],
    "path": sys.path,
    "folder": os.getcwd(),
    "environment": dict(os.environ),
    "rights": [os.umask(0o22), os.nice(0), os.getuid()],
    "leads a session": os.getsid(0) == os.getpid(),
    "open files": sorted(os.listdir("/proc/self/fd")),
    "streams": [stream(it) for it in (sys.stdin, sys.stdout, sys.stderr)],
    "are the first": [sys.stdin is sys.__stdin__, sys.stdout is sys.__stdout__, sys.stderr is sys.__stderr__],
    "signals": {each.name: str(signal.getsignal(each)) for each in signals},
    "blocked": [str(each) for each in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
    "wakes": signal.set_wakeup_fd(-1),
    "flags": str(sys.flags),
    "main": [main.__name__, main.__spec__.name, main.__file__, main.__package__],
    "logging": [logging.root.level, str(logging.root.handlers), logging.root.manager.disable],
    "levels": [logging.getLogger(name).level for name in ("ucop", "httpx", "dbos", "langgraph", "alembic")],
    "warnings": sorted(str(each) for each in warnings.filters),
    "threads": [thread.name for thread in threading.enumerate()],
    "thread is main": threading.main_thread().ident == threading.get_ident(),
    "locale": [locale.setlocale(locale.LC_ALL), locale.getpreferredencoding(), sys.getfilesystemencoding()],
    "hooks": [str(each) for each in (sys.excepthook, sys.displayhook, sys.unraisablehook, sys.gettrace())],
    "gc": [gc.isenabled(), gc.get_threshold(), gc.get_debug()],
    "limits": [sys.getrecursionlimit(), sys.getswitchinterval(), sys.dont_write_bytecode],
    "loops": str(type(asyncio.get_event_loop_policy())),
    "of tests": [name for name in sys.modules if name.partition(".")[0] in ("tests", "pytest")],
}))
'''

ENDS = {
    "returns": "print('done')",
    "a number": "import sys; print('said', end=''); sys.exit(7)",
    "a text": "import sys; sys.exit('it is over')",
    "hard": "import os; os._exit(9)",
    "by a signal": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "as Ctrl-C": "import os, signal; os.kill(os.getpid(), signal.SIGINT)",
    "last acts": (
        "import atexit, threading, time\n"
        "atexit.register(print, 'at exit')\n"
        "threading.Timer(0.1, print, ['a thread that is waited for']).start()\n"
        "print('main')"
    ),
    "a broken pipe": "import os; os.close(1); print('nobody reads')",
    "with input": "import sys; print(sys.stdin.read()[::-1])",
}
"""How a process may end."""


def probed(folder: Path, env: dict[str, str], name: str, begin: Begin, *args: str) -> Done:
    return Running(args, folder, env, input="a\nb", begin=begin, module=name).end()


def test_it_finds_everything_as_after_a_start_of_its_own(bare: Ucop) -> None:
    bare.write("probe.py", PROBE)
    env = {**bare.env, "ONE_OF_MINE": "1"}
    anew, forked = (
        json.loads(probed(bare.folder, env, "probe", begin, "-a", "b c").out)
        for begin in (execute, start)
    )
    assert anew == forked


@pytest.mark.parametrize("code", ENDS.values(), ids=ENDS)
def test_it_ends_alike(bare: Ucop, code: str) -> None:
    bare.write("ends.py", code)
    anew, forked = (probed(bare.folder, bare.env, "ends", begin) for begin in (execute, start))
    # What an exception tells names the files that led to it.
    assert anew.code == forked.code
    assert anew.out == forked.out
    assert anew.err.splitlines()[-1:] == forked.err.splitlines()[-1:]


def test_what_was_set_for_an_import_is_obeyed(bare: Ucop) -> None:
    """So it is not forked, but started."""
    bare.write("armed.py", "from ucop.engine import faults; print(faults._armed[0])")
    for name, value in (("UCOP_FAULT", "after put"), ("PYTHONUTF8", "0"), ("PSYCOPG_IMPL", "c")):
        running = Running((), bare.folder, {**bare.env, name: value}, module="armed")
        assert not isinstance(running.process, Forked), name
        assert running.end().out == ("after put\n" if name == "UCOP_FAULT" else "\n")
    forked = Running((), bare.folder, bare.env, module="armed")
    assert isinstance(forked.process, Forked)
    assert forked.end().out == "\n"


def test_two_that_follow_each_other_hash_differently(bare: Ucop) -> None:
    bare.write("hashes.py", "print(hash('one text'))")
    said = {Running((), bare.folder, bare.env, module="hashes").end().out for _ in range(4)}
    assert len(said) == 2


def test_it_takes_signals_and_its_end_is_heard_of_once(bare: Ucop) -> None:
    bare.write("waits.py", "import time; print('up', flush=True); time.sleep(600)")
    running = Running((), bare.folder, bare.env, module="waits")
    running.until("up")
    assert running.process.poll() is None
    running.signal(signal.SIGKILL)
    assert running.end().code == -signal.SIGKILL
    assert running.process.poll() == -signal.SIGKILL
    running.signal(signal.SIGKILL)  # its number may be another's by now


COMMANDS = [
    [("--version",)],
    [("--help",)],
    [("nonsense",)],
    [("check",)],
    [("init", "new"), ("workflows", "list"), ("workflows", "draw", "gated")],
    [("agents", "list"), ("agents", "show", "shout"), ("models", "list"), ("mesh", "--help")],
    [("run", "say", "-i", "text=hi"), ("jobs", "list"), ("events", "--help"), ("queues", "list")],
    [("run", "adder", "-i", "numbers=[1, 2]"), ("schedules", "list"), ("checkpoints", "list", "?")],
    [("generate", "say", "hi", "--dry-run"), ("webhooks", "list"), ("memory", "list")],
    [("run", "say"), ("run", "nobody"), ("jobs", "show", "nothing"), ("console",)],
]  # fmt: skip


@pytest.mark.parametrize("lines", COMMANDS, ids=lambda lines: " ".join(lines[0]))
def test_commands_say_the_same(ucop: Ucop, lines: list[tuple[str, ...]]) -> None:
    said = {}
    for begin in (execute, start):
        ucop.begin, ucop.extra = begin, {"UCOP_DATABASE": f"sqlite:///{begin.__name__}.db"}
        said[begin] = [masked(ucop(*line)) for line in lines]
        shutil.rmtree(ucop.folder / "new", ignore_errors=True)
    assert said[execute] == said[start]


def test_a_worker_is_alike(ucop: Ucop) -> None:
    said = []
    for begin in (execute, start):
        ucop.begin, ucop.extra = begin, {"UCOP_DATABASE": f"sqlite:///{begin.__name__}.db"}
        worker = ucop.start("worker")
        worker.until("Ctrl-C stops")
        assert ucop("run", "say", "-i", "text=hi", "--detach").code == 0
        worker.until("completed")
        worker.signal()
        said.append(masked(worker.end()))
    assert said[0] == said[1]


def test_a_terminal_is_seen_alike(ucop: Ucop) -> None:
    said = []
    for begin in (execute, start):
        ucop.begin, ucop.extra = begin, {"UCOP_DATABASE": f"sqlite:///{begin.__name__}.db"}
        terminal = Terminal(ucop, "run", "say", "-i", "text=hi")
        terminal.until("jobs show")
        code = terminal.end()
        said.append(
            (
                code,
                set(re.findall(r"\x1b\[[0-9;?]*[A-Za-z]", terminal.shown)),
                "HI" in terminal.text,
            )
        )
    assert said[0] == said[1]


def masked(done: Done) -> Done:
    """Without what differs each time."""
    return Done(done.code, *(_mask(text) for text in (done.out, done.err)))


def _mask(text: str) -> str:
    for each in (
        r"\b[0-9a-f]{12,20}\b", r"\b\d\d:\d\d:\d\d\b", r"\b(execute|start)\.db", r"\d{4}-\d\d-\d\d[T ][0-9:.]+(Z|\+[0-9:]+)?",
        r"\b\d+(\.\d+)? (ms|s|seconds)\b", r'"\w+": \d{10}\.\d+', r"\bw-[0-9a-f]+\b", r"\d+\.\d+",
    ):  # fmt: skip
        text = re.sub(each, "…", text)
    return ANSI.sub("", text)
