"""One job as one file: what `ucop jobs export` writes and `ucop jobs import` reads.

JSON, one record a line: a head with the format's version, the workflow's definition, the job, its
attempts, steps, events, questions and states, and an end that tells whether all of it is there.
Values of states stand once each, as LangGraph's serialiser wrote them; none of them is made an
object here, neither when a file is written nor when one is read.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pydantic import ValidationError

from ..checkpoints.snapshots import OTHERS, Saved, decoded, is_of, shown
from ..errors import InvalidJobFile, JobNotFound
from ..jobs.job import Event
from ..jobs.redaction import Redaction
from ..jobs.run_options import TYPED_INPUT
from ..stores.mesh_trace import runs_of
from ..values.packed import KINDS, mapped, pack, unpack
from .job_parts import (
    PARTS,
    Contents,
    EventPart,
    JobPart,
    Part,
    StatePart,
    ValuePart,
    first_problem,
)

if TYPE_CHECKING:
    from ..checkpoints.snapshots import Rows
    from ..ledger.operation import Row

FORMAT = 1
HEAD = "ucop_job_file"
MOST_BYTES = 256 * 1024 * 1024
"""A file that is larger is not read."""

OWN_CHANNELS = ("__", "branch:", "join:", "_running", "_loops")
"""Channels of LangGraph and of the compiler: their texts are names of nodes."""

_KEPT = "asked attempt checkpoint job name names node parent question questions status task_id type"
KEPT_IN_EVENTS = frozenset(_KEPT.split(" ")) | {"worker", "workflow"}
"""Keys of events and errors under which names of ucop's own stand."""


# ---------------------------------------------------------------- reading a file


def parse(lines: Iterable[bytes]) -> Contents:
    """What a file says. Raises InvalidJobFile, with the line, for anything that is not as
    `export` writes it; then nothing of it was used."""
    reading = _Reading()
    for number, line in enumerate(lines, start=1):
        try:
            reading.take(line)
        except _Wrong as wrong:
            raise InvalidJobFile(f"line {number}: {wrong}") from None
    return reading.contents()


def read_job_file(path: Path | str) -> Contents:
    """`parse`, for a file. Raises InvalidJobFile, which names it, and OSError."""
    try:
        with Path(path).open("rb") as file:
            return parse(_lines(file))
    except InvalidJobFile as error:
        raise InvalidJobFile(f"{path}: {error}") from None


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """A line that is longer than a file may be is cut, and so refused."""
    while line := file.readline(MOST_BYTES + 1):
        yield line


class _Wrong(Exception):
    pass


class _Reading:
    def __init__(self) -> None:
        self._found: dict[str, list[Any]] = {name: [] for name in PARTS}
        self._digest = hashlib.sha256()
        self._lines = self._bytes = 0
        self._ended = False

    def take(self, line: bytes) -> None:
        self._bytes += len(line)
        if self._bytes > MOST_BYTES:
            raise _Wrong(f"the file is larger than {MOST_BYTES // 2**20} MiB")
        if self._ended:
            raise _Wrong("something follows after the end")
        record = _json(line)
        if not self._lines:
            _check_head(record)
        elif len(record) == 1 and (name := next(iter(record))) in PARTS:
            self._found[name].append(_part(PARTS[name], record[name]))
        elif record.keys() == {"end"}:
            if record["end"] != {"lines": self._lines, "sha256": self._digest.hexdigest()}:
                raise _Wrong("the file was changed, or something in it is missing")
            self._ended = True
        else:
            raise _Wrong(f"not a record of a job: {', '.join(map(str, record))[:80]}")
        self._lines += 1
        self._digest.update(line)

    def contents(self) -> Contents:
        if not self._ended:
            raise InvalidJobFile("the file ends too early: it is not whole")
        found = self._found
        for name in ("definition", "job"):
            if len(found[name]) != 1:
                raise InvalidJobFile(f"there must be one {name}, not {len(found[name])}")
        contents = Contents(
            definition=found["definition"][0].body,
            job=found["job"][0],
            attempts=sorted(found["attempt"], key=lambda each: each.number),
            steps=found["step"],
            events=sorted(found["event"], key=lambda each: each.seq),
            questions=found["question"],
            values={each.id: each for each in found["value"]},
            states=found["state"],
            writes=found["write"],
        )
        if wrong := next(_contradictions(contents), None):
            raise InvalidJobFile(wrong)
        return contents


def _json(line: bytes) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        record = json.loads(line.decode("utf-8"), parse_constant=refuse)
        # Texts that no database takes: half a character, and the character 0.
        if b"\x00" in json.dumps(record, ensure_ascii=False).encode() or _has_nul(record):
            raise ValueError("the character 0")
    except (ValueError, RecursionError) as error:
        raise _Wrong(f"not JSON that a job is made of ({error})"[:200]) from None
    if not isinstance(record, dict):
        raise _Wrong("not an object")
    return record


def _has_nul(record: Any) -> bool:
    return "\\u0000" in json.dumps(record)


def _check_head(record: Mapping[str, Any]) -> None:
    version = record.get(HEAD)
    if version is None:
        raise _Wrong("not a file of `ucop jobs export`")
    if version != FORMAT or isinstance(version, bool):
        raise _Wrong(
            f"the file has format {version!r}, this ucop reads {FORMAT}: use the ucop that wrote it"
        )


def _part(kind: type[Part], given: Any) -> Part:
    try:
        part = kind.model_validate(given)
        if isinstance(part, ValuePart):
            _check_value(part)
    except ValidationError as error:
        raise _Wrong(first_problem(error)) from None
    return part


def _check_value(value: ValuePart) -> None:
    if value.kind not in KINDS:
        raise _Wrong(f"a value of kind {value.kind!r}; there are {', '.join(sorted(KINDS))}")
    try:
        data = value.bytes
        if value.id != value_id(value.kind, data):
            raise _Wrong("a value is not what its id says")
        if value.kind == "msgpack":
            unpack(data or b"")
        elif value.kind == "json":
            json.loads(data or b"")
    except (ValueError, binascii.Error, RecursionError) as error:
        raise _Wrong(f"a value cannot be read ({error})"[:200]) from None


def _contradictions(contents: Contents) -> Iterator[str]:
    job = contents.job
    if [each.number for each in contents.attempts] != list(range(1, job.attempt + 1)):
        yield f"the attempts are not those from 1 to {job.attempt}"
    if [each.seq for each in contents.events] != list(range(1, len(contents.events) + 1)):
        yield "the events do not count from 1 without a gap"
    yield from _twice("step", [(each.task_id, each.attempt) for each in contents.steps])
    yield from _twice("question", [each.id for each in contents.questions])
    yield from _twice("state", [(each.ns, each.id) for each in contents.states])
    writes = [(each.ns, each.checkpoint_id, each.task_id, each.idx) for each in contents.writes]
    yield from _twice("write", writes)
    used = {value for each in contents.states for value in each.values.values()}
    if missing := (used | {each.value for each in contents.writes}) - contents.values.keys():
        yield f"a value is missing: {min(missing)}"
    if job.checkpoint_id and ("", job.checkpoint_id) not in {(s.ns, s.id) for s in contents.states}:
        yield f"the state that the job stands at is missing: {job.checkpoint_id}"
    for state in contents.states:
        if state.checkpoint.get("id") != state.id or "channel_values" in state.checkpoint:
            yield f"state {state.id} is not what its id says"
    yield from _unreadable(contents)


def _unreadable(contents: Contents) -> Iterator[str]:
    """What cannot be read as it will be: what nodes wrote, and what meshes told, have forms that
    no record shows."""
    job = contents.job
    try:
        found = [_saved_state(contents, state) for state in contents.states if not state.ns]
        shown(found, job.id, job.id, (), yaml=True)
        runs_of([_event(job.id, each) for each in contents.events if each.type.startswith("mesh.")])
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        yield f"it cannot be read as a job is ({type(error).__name__}: {error})"[:200]


def _saved_state(contents: Contents, state: StatePart) -> Saved:
    values = {name: contents.values[id] for name, id in state.values.items()}
    return Saved(
        id=state.id,
        parent_id=state.parent_id,
        metadata=state.metadata,
        at=str(state.checkpoint["ts"]),
        values={name: decoded(value.kind, value.bytes) for name, value in values.items()},
        versions=_object(state, "channel_versions"),
        seen=_object(state, "versions_seen"),
    )


def _object(state: StatePart, name: str) -> Mapping[str, Any]:
    found = state.checkpoint[name]
    assert isinstance(found, dict)
    return found


def _event(job: str, event: EventPart) -> Event:
    at = datetime.fromtimestamp(event.at, UTC)
    return Event(job_id=job, seq=event.seq, type=event.type, at=at, data=dict(event.data))


def _twice(what: str, keys: list[Any]) -> Iterator[str]:
    if len(set(keys)) != len(keys):
        yield f"a {what} is there twice"


def value_id(kind: str, data: bytes | None) -> str:
    return hashlib.sha256(kind.encode() + b"\x00" + (data or b"")).hexdigest()[:32]


# ---------------------------------------------------------------- writing a file

_JOB = "select * from jobs where id = :job"
_OF_JOB = {
    "attempt": "select * from attempts where job_id = :job order by number",
    "step": "select * from steps where job_id = :job order by started_at, task_id, attempt",
    "event": "select * from events where job_id = :job order by seq",
    "question": "select * from questions where job_id = :job order by asked_at, id",
}
_DEFINITION = "select body from definitions where fingerprint = :fingerprint"
_STATES = "select * from checkpoints where thread_id = :thread order by checkpoint_id"
_BLOBS = "select * from checkpoint_blobs where thread_id = :thread"
_WRITES = """
select * from {writes} where thread_id = :thread order by checkpoint_id, task_id, idx"""

_AS_JSON = {
    "job": ("needs", "input", "run", "output", "error", "labels", "budget"),
    "step": ("input", "output", "error", "models"),
    "event": ("data",),
    "question": ("question", "answer_schema", "default_answer", "answer"),
    "attempt": (),
}
_CONTENT = {
    "job": ("reason", "input", "run", "output", "error", "tenant", "labels"),
    "attempt": ("outcome",),
    "step": ("input", "output", "error"),
    "event": ("data",),
    "question": ("question", "default_answer", "answer"),
}
"""What of a record people or models wrote."""


def write(
    rows: Rows, job: str, *, apart: bool, redaction: Redaction, head: Mapping[str, Any]
) -> Iterator[str]:
    """The lines of a job's file; `rows` reads its database, `apart` as in threads.Tables."""
    digest, number = hashlib.sha256(), 0
    for record in _records(rows, job, apart, redaction, head):
        line = json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n"
        digest.update(line.encode())
        number += 1
        yield line
    yield json.dumps({"end": {"lines": number, "sha256": digest.hexdigest()}}) + "\n"


def save(path: Path | str, lines: Iterable[str]) -> None:
    """Write a file that is not there yet. Where the lines break off there is none. Raises OSError."""
    with Path(path).open("x", encoding="utf-8", newline="\n") as file:
        try:
            file.writelines(lines)
        except BaseException:
            Path(path).unlink(missing_ok=True)
            raise


def _records(
    rows: Rows, job: str, apart: bool, redaction: Redaction, head: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    yield {HEAD: FORMAT, **head, "contents": not redaction.contents}
    found = rows(_JOB, {"job": job})
    if not found:  # deleted at this moment
        raise JobNotFound(f"no job {job!r}")
    row = found[0]
    (definition,) = rows(_DEFINITION, {"fingerprint": row["fingerprint"]})
    # A definition is needed whole to go on; it loses its secrets alone.
    yield {"definition": {"body": Redaction().value(json.loads(definition["body"]))}}
    yield {"job": _record("job", JobPart, row, redaction)}
    for name, sql in _OF_JOB.items():
        for each in rows(sql, {"job": job}):
            yield {name: _record(name, PARTS[name], each, redaction)}
    yield from _States(rows, job, row["thread_id"], apart, redaction).records()


def _record(name: str, kind: type[Part], row: Row, redaction: Redaction) -> dict[str, Any]:
    record = {column: row[column] for column in kind.model_fields}
    for column in _AS_JSON[name]:
        if record[column] is not None:
            record[column] = json.loads(record[column])
    for column in _CONTENT[name]:
        keep = KEPT_IN_EVENTS if column in ("data", "error") else frozenset()
        record[column] = _redact(record[column], redaction, keep)
    return record


def _redact(value: Any, redaction: Redaction, keep: frozenset[str]) -> Any:
    """`value` redacted; also the input as Python gave it, which is msgpack in a text."""
    typed = value.get(TYPED_INPUT) if isinstance(value, dict) else None
    redacted = redaction.value(value, keep)
    if isinstance(typed, str):
        whole = unpack(base64.b64decode(typed))
        packed = pack(mapped(whole, redaction.named))
        redacted[TYPED_INPUT] = base64.b64encode(packed).decode()
    return redacted


class _States:
    """The states of a job's thread, and their values."""

    def __init__(
        self, rows: Rows, job: str, thread: str, apart: bool, redaction: Redaction
    ) -> None:
        self._rows, self._job, self._thread = rows, job, thread
        self._apart, self._redaction = apart, redaction
        self._told: set[str] = set()

    def records(self) -> Iterator[dict[str, Any]]:
        blobs = {
            (row["checkpoint_ns"], row["channel"], row["version"]): (row["type"], row["blob"])
            for row in (self._rows(_BLOBS, {"thread": self._thread}) if self._apart else ())
        }
        which = {"thread": self._thread, "job": self._job}
        others = {row["id"] for row in self._rows(OTHERS, which)}
        mine = set()
        for row in self._rows(_STATES, {"thread": self._thread}):
            metadata = row["metadata"] if self._apart else json.loads(row["metadata"])
            if not is_of(metadata.get("ucop_job", self._job), self._job, self._thread, others):
                continue
            mine.add((row["checkpoint_ns"], row["checkpoint_id"]))
            checkpoint, values = self._taken_apart(row, blobs)
            ids = {}
            for channel, (kind, data) in values.items():
                ids[channel], told = self._value(channel, kind, data)
                yield from told
            yield {
                "state": {
                    "ns": row["checkpoint_ns"],
                    "id": row["checkpoint_id"],
                    "parent_id": row["parent_checkpoint_id"] or None,
                    "checkpoint": checkpoint,
                    "values": ids,
                    "metadata": metadata,
                }
            }
        table, column = ("checkpoint_writes", "blob") if self._apart else ("writes", "value")
        for row in self._rows(_WRITES.format(writes=table), {"thread": self._thread}):
            if (row["checkpoint_ns"], row["checkpoint_id"]) not in mine:
                continue
            id, told = self._value(row["channel"], row["type"], row[column])
            yield from told
            named = ("checkpoint_id", "task_id", "task_path", "idx", "channel")
            yield {
                "write": {
                    "ns": row["checkpoint_ns"],
                    **{name: row[name] for name in named},
                    "value": id,
                }
            }

    def _taken_apart(
        self, row: Row, blobs: Mapping[Any, tuple[str, Any]]
    ) -> tuple[dict[str, Any], dict[str, tuple[str, bytes | None]]]:
        """A checkpoint without its values, and those by channel."""
        if not self._apart:
            checkpoint = unpack(row["checkpoint"])
            values = checkpoint.pop("channel_values")
            return checkpoint, {name: ("msgpack", pack(value)) for name, value in values.items()}
        checkpoint = dict(row["checkpoint"])
        inline = checkpoint.pop("channel_values", None) or {}
        found: dict[str, tuple[str, bytes | None]]
        found = {name: ("msgpack", pack(value)) for name, value in inline.items()}
        for channel, version in checkpoint["channel_versions"].items():
            kind, data = blobs.get((row["checkpoint_ns"], channel, version), ("empty", None))
            if kind != "empty":
                found[channel] = (kind, None if data is None else bytes(data))
        return checkpoint, found

    def _value(self, channel: str, kind: str, data: Any) -> tuple[str, Iterator[dict[str, Any]]]:
        """A value's id, and its record where that was not written yet."""
        raw = None if data is None else bytes(data)
        if not channel.startswith(OWN_CHANNELS) or channel in CONTENT_CHANNELS:
            raw = self._redact(kind, raw, channel)
        id = value_id(kind, raw)
        if id in self._told:
            return id, iter(())
        self._told.add(id)
        text = None if raw is None else base64.b64encode(raw).decode()
        return id, iter([{"value": {"id": id, "kind": kind, "data": text}}])

    def _redact(self, kind: str, data: bytes | None, channel: str) -> bytes | None:
        if data is None:
            return None
        if kind == "msgpack":
            return pack(mapped(unpack(data), self._redaction.named, named=channel))
        if kind == "json":
            return json.dumps(self._redaction.value(json.loads(data))).encode()
        return bytes(len(data)) if self._redaction.contents else data


CONTENT_CHANNELS = frozenset(
    {"__start__", "__interrupt__", "__resume__", "__error__", "__return__", "__pregel_tasks"}
)
"""Those of LangGraph's channels that carry what people or models wrote."""
