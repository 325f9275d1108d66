"""Why a node, or a job, failed: as JSON for the ledger.

What is kept of an error: its type and text, where in the user's own code it was raised, what it
came from, and the item of an `each` that failed. All of it is bounded. Values of variables are
never kept: they may be secrets.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterator, Sequence
from types import FrameType, TracebackType
from typing import Any

from ucop.agents.text.plain import brief
from ucop.agents.text.raised import Escaped, bounded, clean, source_of, text_of, type_of
from ucop.graphs.nodes.failures import item_of

from ..errors import Unstorable

MOST_FRAMES = 20
"""Frames that are kept of one error: of more, those where it began and those where it ended."""

MOST_CAUSES = 10
"""Errors that are kept of a chain, or of a group, beside the error itself."""

CAUSE_TEXT = 2_000
"""Characters of the text of each of these."""

INTERNAL = frozenset(
    {"ucop", "langgraph", "langchain", "langchain_core", "langgraph_sdk", "uvloop", "anyio"}
)
"""Packages whose frames lead to the user's code, or away from it."""

_STDLIB = sysconfig.get_paths()["stdlib"]
_PACKAGES = tuple({sysconfig.get_paths()["purelib"], sysconfig.get_paths()["platlib"]})


def failure(error: BaseException, node: str | None = None) -> dict[str, Any]:
    """An error as JSON. Never raises, whatever the error's own code does."""
    told: dict[str, Any] = {"type": type_of(error), "message": _message(error), "node": node}
    if isinstance(error, Unstorable):
        told |= {"node": node or error.node, "channel": error.channel, "kind": clean(error.kind)}
    if frames := frames_of(error):
        told["frames"] = frames
    if causes := causes_of(error):
        told["causes"] = causes
    if item := _item(error):
        told["item"] = item
    return told


def frames_of(error: BaseException) -> list[dict[str, Any]]:
    """Where in the user's own code an error was raised, the outermost frame first."""
    found = list(_frames(source_of(error).__traceback__))
    own = [frame for frame, path in found if not path.startswith(_PACKAGES)]
    kept = own or [frame for frame, _ in found]
    if len(kept) > MOST_FRAMES:
        kept = kept[: MOST_FRAMES // 4] + kept[len(kept) - MOST_FRAMES * 3 // 4 :]
    return kept


def causes_of(error: BaseException) -> list[dict[str, Any]]:
    """What an error came from, the nearest first: what it was raised from, what was handled when
    it was raised, and the errors that a group holds."""
    return [
        {
            "type": type_of(cause),
            "message": bounded(text_of(cause), CAUSE_TEXT),
            "how": how,
            "frames": frames_of(cause),
        }
        for cause, how in _causes(source_of(error))
    ]


def is_own(frame: FrameType) -> bool:
    """Whether a frame is of the user's own code, or of a package that it uses."""
    module = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    if module in INTERNAL or (module in sys.stdlib_module_names and module != "__main__"):
        return False
    path = frame.f_code.co_filename
    return not path.startswith(_STDLIB) or path.startswith(_PACKAGES)


def _frames(trace: TracebackType | None) -> Iterator[tuple[dict[str, Any], str]]:
    while trace is not None:
        if is_own(trace.tb_frame):
            code = trace.tb_frame.f_code
            path, line = code.co_filename, trace.tb_lineno or code.co_firstlineno
            yield {"file": clean(path), "line": line, "function": clean(code.co_qualname)}, path
        trace = trace.tb_next


def _causes(error: BaseException) -> Iterator[tuple[BaseException, str]]:
    seen, waiting = {id(error)}, list(_next(error))
    told = 0
    while waiting and told < MOST_CAUSES:
        cause, how = waiting.pop(0)
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        if not isinstance(cause, Escaped):
            yield cause, how
            told += 1
        waiting.extend(_next(cause))


def _next(error: BaseException) -> Sequence[tuple[BaseException, str]]:
    found = [(each, "group") for each in getattr(error, "exceptions", ()) if _is_error(each)]
    if error.__cause__ is not None:
        found.append((error.__cause__, "cause"))
    elif error.__context__ is not None and not error.__suppress_context__:
        found.append((error.__context__, "context"))
    return found if isinstance(error, BaseExceptionGroup) else found[-1:]


def _is_error(value: object) -> bool:
    return isinstance(value, BaseException)


def _item(error: BaseException) -> dict[str, Any] | None:
    found = item_of(error)
    if found is None:
        return None
    key, value = found
    return {"key": key, "value": brief(value)}


def _message(error: BaseException) -> str:
    message = text_of(error)
    asked = _asked(error)
    return f"{message} ({asked})" if asked is not None else message


def _asked(error: BaseException) -> str | None:
    """Whom a graph's own code asked over HTTP: httpx does not tell, and its timeouts say
    nothing at all. Without credentials."""
    import httpx

    if not isinstance(error, httpx.RequestError):
        return None
    try:
        url = error.request.url
    except RuntimeError:  # it was raised before there was a request
        return None
    return f"{error.request.method} {url.scheme}://{url.netloc.decode('ascii')}{url.path}"
