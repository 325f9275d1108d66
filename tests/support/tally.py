"""What a scripted endpoint was asked, and what it counted, told apart by who asked.

Prompts begin with a mark: `research: what is …`. The mark is usually the node's name.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tests.support.ollama import Reply, Request, fitting


@dataclass(frozen=True)
class Spent:
    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.calls + other.calls,
            self.tokens_in + other.tokens_in,
            self.tokens_out + other.tokens_out,
        )


class Tally:
    """Replies for a ScriptedOllama, by mark. A mark's last reply repeats; a mark without a
    script gets what fits. Every whole answer has token numbers of its own, so that no two
    sums agree by accident."""

    def __init__(self, **scripts: Sequence[Reply]) -> None:
        self.asked: list[tuple[str, float]] = []
        """Mark and time of arrival (seconds since the epoch) of each call, in order."""
        self._scripts = {mark: list(replies) for mark, replies in scripts.items()}
        self._spent: dict[str, Spent] = {}
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Reply:
        with self._lock:
            mark = _mark(request)
            self.asked.append((mark, time.time()))
            reply = self._next(mark)
            spent = Spent(1)
            if _ends(reply):
                number = len(self.asked)
                reply = replace(reply, tokens=(100 + number**2, 10 + number**3))
                assert reply.tokens is not None
                spent += Spent(0, *reply.tokens)
            self._spent[mark] = self._spent.get(mark, Spent()) + spent
            return reply

    def script(self, mark: str, *replies: Reply) -> None:
        """What `mark` gets from now on; nothing given: what fits."""
        with self._lock:
            self._scripts[mark] = list(replies)

    @property
    def marks(self) -> list[str]:
        """Who asked, in order."""
        return [mark for mark, _ in self.asked]

    @property
    def spent(self) -> dict[str, Spent]:
        return dict(self._spent)

    def _next(self, mark: str) -> Reply:
        script = self._scripts.get(mark) or [fitting()]
        return script.pop(0) if len(script) > 1 else script[0]


def _mark(request: Request) -> str:
    words = next(m["content"] for m in request["messages"] if m["role"] == "user")
    return str(words).partition(":")[0]


def _ends(reply: Reply) -> bool:
    """Whether the endpoint comes to tell how many tokens it was."""
    whole = reply.done and reply.status == 200 and reply.raw is None and not reply.error_line
    return whole and reply.cut_after is None and reply.hang_after is None
