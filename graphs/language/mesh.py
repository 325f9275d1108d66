"""Agents by name or by what they can do, and the mesh that they make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from ucop.agents.text.places import Path

from .forms import LIST, TEXT, Form, Key, Reader, count, only, ref
from .policies import RETRY, TIMEOUT, Retry

LARGEST_LIMIT = 1_000
CAPABILITY = only(
    "capability",
    TEXT,
    "What the agent must declare that it can do.",
    "needs a name or 'capability'",
)


def _read_called(reader: Reader, value: Any, path: Path) -> tuple[str, str | None] | None:
    """The agent's name, empty if a capability is given instead; and the capability."""
    if isinstance(value, Mapping):
        return "", CAPABILITY.read(reader, value, path)
    if isinstance(value, str) and value:
        return value, None
    owner = path[-1] if isinstance(path[-1], str) else "agent"
    reader.error("wrong-type", f"{owner} must be a name, or {{capability: NAME}}", path)
    return None


def _write_called(called: tuple[str, str | None]) -> Any:
    return called[0] or CAPABILITY.write(called[1])


CALLED = Form(_read_called, ref("called"), _write_called)


def _read_members(
    reader: Reader, value: Any, path: Path
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Those who are listed by name, and the capabilities of the others."""
    if value == []:
        hint = "leave it out to have everyone whom the agents may ask for"
        reader.error("bad-value", "'agents' is empty", path, hint, key=True)
    listed = enumerate(LIST.read(reader, value, path) or ())
    called = [_read_called(reader, one, (*path, i)) or ("", None) for i, one in listed]
    return (
        tuple(name for name, _ in called if name),
        tuple(capability for _, capability in called if capability),
    )


def _write_members(members: tuple[Iterable[str], Iterable[str]]) -> Any:
    names, capabilities = members
    return [*names, *map(CAPABILITY.write, capabilities)]


_MEMBERS = Form(
    _read_members, {"type": "array", "minItems": 1, "items": ref("called")}, _write_members
)


@dataclass(frozen=True, kw_only=True)
class Mesh:
    """Agents among which a router finds who answers, and who is asked on the way."""

    entry: Annotated[
        str,
        Key(
            CALLED,
            also="entry_capability",
            needed="a mesh needs 'entry': who is called first",
            hint="name an agent of the mesh",
            examples=["writer", {"capability": "write"}],
        ),
    ] = ""
    """Who is called first: an agent, or one that declares a capability."""
    # What the agent that is called first must declare; the router chooses it.
    entry_capability: str | None = None
    agents: Annotated[
        tuple[str, ...],
        Key(_MEMBERS, also="capabilities", examples=[["writer", {"capability": "research"}]]),
    ] = ()
    """Who may be called, by name or capability. Left out: whom the agents may ask."""
    # Everyone who declares one of these may be called too; once it is checked, `agents` names all.
    capabilities: tuple[str, ...] = ()
    max_hops: Annotated[int, Key(count(LARGEST_LIMIT), written=True)] = 16
    """How often an agent may be asked at most."""
    retry: Annotated[Retry | None, Key(RETRY)] = None
    """How often one call of an agent is tried, before another agent is asked."""
    timeout: Annotated[float | None, Key(TIMEOUT, also="idle")] = None
    """How long one call of an agent may take, and be without a sign of progress."""
    idle: float | None = None
