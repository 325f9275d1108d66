"""Checkpoints as a tree of forks and edits, and what differs between two states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ucop.engine.errors import CheckpointNotFound

if TYPE_CHECKING:
    from ucop.engine.jobs.job import Checkpoint


ABSENT = "(none)"


def tree(found: Sequence[Checkpoint]) -> Iterator[tuple[int, Checkpoint]]:
    """(depth, checkpoint) from the oldest on. Where a job was set back, the branches that it left
    stand one deeper, before the one that it went on with."""
    known = {checkpoint.id for checkpoint in found}
    children: dict[str | None, list[Checkpoint]] = {}
    for checkpoint in sorted(found, key=lambda each: each.id):
        parent = checkpoint.parent_id if checkpoint.parent_id in known else None
        children.setdefault(parent, []).append(checkpoint)
    # The branch to go on with is taken last, so it is put on the stack first.
    waiting = _branches(children.get(None, []), 0)
    while waiting:
        depth, checkpoint = waiting.pop()
        yield depth, checkpoint
        waiting += _branches(children.get(checkpoint.id, []), depth)


def _branches(children: Sequence[Checkpoint], depth: int) -> list[tuple[int, Checkpoint]]:
    if not children:
        return []
    *left, last = children
    return [(depth, last), *((depth + 1, one) for one in reversed(left))]


def differences(before: Any, after: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(path, before, after) of what is not the same; objects and lists are gone into."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys((*before, *after)):
            inner = f"{path}.{key}" if path else str(key)
            yield from differences(before.get(key, ABSENT), after.get(key, ABSENT), inner)
    elif isinstance(before, list) and isinstance(after, list):
        for index in range(max(len(before), len(after))):
            old = before[index] if index < len(before) else ABSENT
            new = after[index] if index < len(after) else ABSENT
            yield from differences(old, new, f"{path}[{index}]")
    elif before != after or type(before) is not type(after):
        yield path, before, after


def chosen(found: Sequence[Checkpoint], job: str, named: str | None) -> Checkpoint:
    """The checkpoint that begins so, or the last. Raises CheckpointNotFound."""
    fitting = [each for each in found if named is None or (named and each.id.startswith(named))]
    if fitting and (named is None or len(fitting) == 1):
        return fitting[0]
    what = f"several checkpoints begin with {named!r}" if fitting else f"no checkpoint {named!r}"
    if named is None:
        what = "no checkpoint yet"
    raise CheckpointNotFound(f"job {job}: {what}; `ucop checkpoints list {job}` shows them")


def pair(
    found: Sequence[Checkpoint], job: str, first: str, second: str | None
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    one = chosen(found, job, first)
    if second is not None:
        return one.values, chosen(found, job, second).values
    parent = next((each for each in found if each.id == one.parent_id), None)
    return (parent.values if parent else {}), one.values
