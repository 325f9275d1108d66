"""The file of one job: what is not as it was written is refused, and nothing else happens."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.graphs import chain
from ucop.engine import Engine
from ucop.engine.errors import InvalidJobFile
from ucop.engine.transfer.job_file import parse, read_job_file
from ucop.engine.values.packed import pack


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a job that completed."""
    folder = tmp_path_factory.mktemp("job")
    with Engine(f"sqlite:///{folder}/ucop.db", root=folder) as engine:
        job = engine.submit(engine.add("flow", chain("a", "b", "c")), labels={"team": "docs"})
        job.result(30)
        job.export(folder / "job.jsonl")
    return folder / "job.jsonl"


def forged(file: Path, change: Callable[[Any], Any]) -> bytes:
    """The file with each record changed, and an end that fits."""
    lines = []
    for line in file.read_text(encoding="utf-8").splitlines()[:-1]:
        record = change(json.loads(line))
        if record is not None:
            lines.append(
                record if isinstance(record, bytes) else json.dumps(record).encode() + b"\n"
            )
    end = {"lines": len(lines), "sha256": hashlib.sha256(b"".join(lines)).hexdigest()}
    return b"".join(lines) + json.dumps({"end": end}).encode() + b"\n"


def on(name: str, **changed: Any) -> Callable[[Any], Any]:
    """Other fields in every record of a kind."""

    def change(record: Any) -> Any:
        return {name: {**record[name], **changed}} if name in record else record

    return change


def without(name: str) -> Callable[[Any], Any]:
    return lambda record: None if name in record else record


def valued(kind: str, data: bytes) -> Callable[[Any], Any]:
    encoded = base64.b64encode(data).decode()
    id = hashlib.sha256(kind.encode() + b"\x00" + data).hexdigest()[:32]
    return on("value", id=id, kind=kind, data=encoded)


def _inside(record: Any, name: str, field: str, key: str, value: Any) -> Any:
    """Another value inside a field of every record of a kind."""
    if name not in record:
        return record
    return {name: {**record[name], field: {**record[name][field], key: value}}}


HOSTILE: dict[str, tuple[Callable[[Any], Any], str]] = {
    "an id that is a path": (on("job", id="../../etc/passwd"), "id"),
    "an id with a quote": (on("job", id="1' or '1'='1"), "id"),
    "an unknown field": (on("job", worker="me"), "worker"),
    "a number as a text": (on("step", model_calls="3"), "model_calls"),
    "a number without end": (
        lambda r: b'{"event": {"at": Infinity}}\n' if "event" in r else r,
        "JSON",
    ),
    "a status that there is not": (on("job", status="done"), "status"),
    "a pickle": (valued("pickle", b"\x80\x04."), "pickle"),
    "a value that is no msgpack": (valued("msgpack", b"\xc1"), "cannot be read"),
    "a value under another's id": (
        on("value", data=base64.b64encode(pack("x")).decode()),
        "id says",
    ),
    "states without their values": (without("value"), "a value is missing"),
    "no job": (without("job"), "one job"),
    "a gap in the events": (on("event", seq=3), "count from 1"),
    "an attempt too few": (without("attempt"), "attempts"),
    "the state that it stands at is gone": (
        on("job", checkpoint_id="00000000-0000-6000-8000-000000000000"),
        "stands at",
    ),
    "a format to come": (
        lambda r: {**r, "ucop_job_file": 2} if "ucop_job_file" in r else r,
        "format 2",
    ),
    "another file": (lambda r: {"name": "x"} if "ucop_job_file" in r else r, "not a file of"),
    "an error without its type": (on("step", error={"message": "no"}), "error: .*type"),
    "a job's error that is none": (on("job", error={}), "error"),
    "a state without a time": (
        lambda r: _inside(r, "state", "checkpoint", "ts", 3),
        "checkpoint: .*ts",
    ),
    "a state that saw a text": (
        lambda r: _inside(r, "state", "checkpoint", "versions_seen", "x"),
        "versions_seen",
    ),
    "a version that no database takes": (
        lambda r: _inside(r, "state", "checkpoint", "channel_versions", {"log": 10**30}),
        "channel_versions",
    ),
    "a number in a state that is too large": (
        lambda r: _inside(r, "state", "checkpoint", "more", 10**30),
        "64-bit",
    ),
    "a step of a state that is none": (
        lambda r: _inside(r, "state", "metadata", "step", {"a": 1}),
        "metadata: .*step: ",
    ),
    "a state that was edited from a list": (
        lambda r: _inside(r, "state", "metadata", "ucop_edit_of", ["x"]),
        "metadata: .*ucop_edit_of: ",
    ),
    "a hop of a mesh that says nothing": (
        lambda r: (
            {"event": {**r["event"], "type": "mesh.asked", "data": {}}} if "event" in r else r
        ),
        "KeyError",
    ),
    "an unknown record": (lambda r: {"code": "x"} if "event" in r else r, "not a record"),
    "the character 0": (on("job", reason="a\x00b"), "character 0"),
    "half a character": (on("job", reason="\ud800"), "JSON"),
    "too deep": (lambda r: b"[" * 200_000 + b"\n" if "event" in r else r, "JSON"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_file_that_no_export_wrote_is_refused(whole: Path, tmp_path: Path, case: str) -> None:
    change, told = HOSTILE[case]
    file = tmp_path / "job"
    file.write_bytes(forged(whole, change))
    with pytest.raises(InvalidJobFile, match=told):
        read_job_file(file)


def test_a_file_that_was_changed_or_cut_is_refused(whole: Path, tmp_path: Path) -> None:
    file, text = tmp_path / "job", whole.read_bytes()
    for broken, told in (
        (text.replace(b'"team"', b'"meat"'), "was changed"),
        (text[: len(text) // 2].rpartition(b"\n")[0] + b"\n", "ends too early"),
        (text + text, "follows after the end"),
        (b"", "ends too early"),
    ):
        file.write_bytes(broken)
        with pytest.raises(InvalidJobFile, match=told):
            read_job_file(file)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_no_damage_is_a_defect(whole: Path, data: st.DataObject) -> None:
    text = bytearray(whole.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    lines = bytes(text).splitlines(keepends=True)
    try:
        parse(lines)
    except InvalidJobFile:
        return
    assert bytes(text) == whole.read_bytes()


def test_a_file_that_is_whole_is_read(whole: Path) -> None:
    contents = read_job_file(whole)
    assert (contents.job.attempt, len(contents.steps)) == (1, 3)
    assert contents.states
    assert contents.writes
