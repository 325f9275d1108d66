"""A process that makes processes: it has imported everything and has no threads, and forks.

A fork takes milliseconds where a fresh interpreter takes seconds to import LangGraph and DBOS:
so a worker can be killed every second. The forge takes orders as JSON lines on its standard
input and answers each with one line. It ends, and its children with it, at the end of input.

Run by fleet.Fleet as `python -m tests.chaos.forge MODULE`, whose functions are the roles.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests.chaos.mazes import NAP
from tests.chaos.witness import WITNESS

PR_SET_PDEATHSIG = 1


class Forge:
    def __init__(self, roles: Any) -> None:
        self._roles = roles
        self._children: set[int] = set()
        self._ended: dict[int, int] = {}

    def start(self, order: dict[str, Any]) -> dict[str, Any]:
        """Fork a child that plays a role."""
        assert threading.active_count() == 1, "a process with threads must not fork"
        pid = os.fork()
        if pid == 0:
            _become(order, self._roles)
        self._children.add(pid)
        self._ended.pop(pid, None)  # the system uses numbers again
        return {"pid": pid}

    def signal(self, order: dict[str, Any]) -> dict[str, Any]:
        """Signal a child, unless it ended by itself; only the parent can know."""
        pid = order["pid"]
        self._reap(pid)
        if pid in self._ended:
            return {"sent": False}
        os.kill(pid, order["signal"])
        return {"sent": True}

    def wait(self, order: dict[str, Any]) -> dict[str, Any]:
        """Wait up to `timeout` seconds for a child's end: its exit status, negative for a
        signal, None where it runs on."""
        deadline = time.monotonic() + order["timeout"]
        while True:
            self._reap(order["pid"])
            if order["pid"] in self._ended:
                return {"status": self._ended[order["pid"]]}
            if time.monotonic() > deadline:
                return {"status": None}
            time.sleep(0.005)

    def close(self) -> None:
        for pid in list(self._children):
            self._reap(pid)
            if pid in self._children:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)

    def _reap(self, pid: int) -> None:
        if pid not in self._children:
            return
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            self._children.discard(pid)
            self._ended[pid] = os.waitstatus_to_exitcode(status)


def _become(order: dict[str, Any], roles: Any) -> None:
    """In the child: play the role, and never return into the forge."""
    status = 1
    try:
        # Nothing outlives a forge, however it ends.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.environ[WITNESS], os.environ[NAP] = order["witness"], str(order["nap"])
        log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for theirs, ours in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(theirs, ours)
        role = getattr(roles, order["role"])
        role(Path(order["folder"]), order["url"], **order["given"])
        status = 0
    except SystemExit as exit:
        status = exit.code if isinstance(exit.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    roles = importlib.import_module(sys.argv[1])
    roles.warm()
    forge = Forge(roles)
    print(json.dumps({"ready": os.getpid()}), flush=True)
    try:
        for line in sys.stdin:
            order = json.loads(line)
            answer = getattr(forge, order.pop("verb"))(order)
            print(json.dumps(answer), flush=True)
    finally:
        forge.close()


if __name__ == "__main__":
    main()
