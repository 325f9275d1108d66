"""Stdout is for data: what the project's code prints goes to stderr, and where a stream is
closed or full that is said, with an exit code that tells it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.command import UCOP, Ucop

LOUD = """
import os
import subprocess
import sys

from ucop.agents import agent

print("PRINTED at import")


@agent
def loud(text: str) -> str:
    print("PRINTED")
    sys.stdout.write("PRINTED as text\\n")
    sys.stdout.buffer.write(b"PRINTED as bytes\\n")
    print("PRINTED below", file=sys.__stdout__, flush=True)
    os.write(1, b"PRINTED raw\\n")
    subprocess.run(["echo", "PRINTED by a child"])
    return text
"""

FLOW = """
name: loud
input: {text: string}
nodes: {says: {agent: loud, with: {text: "${text}"}, writes: said}}
output: {said: "${said}"}
"""

RUN = ("run", "loud", "-i", "text=hi")


@pytest.fixture
def loud(bare: Ucop) -> Ucop:
    bare.write("ucop.toml", 'agents = ["loud.py"]\nworkflows = ["loud.yaml"]\n')
    bare.write("loud.py", LOUD)
    bare.write("loud.yaml", FLOW)
    return bare


def test_what_agents_print_goes_to_stderr(loud: Ucop) -> None:
    job = loud(*RUN, "--json")
    assert job.json["output"] == {"said": "hi"}
    for said in ("at import", "as text", "as bytes", "below", "raw", "by a child"):
        assert f"PRINTED {said}" in job.err
    alone = loud("agents", "run", "loud", "-i", "text=hi", "--json")
    assert (alone.json["output"], "PRINTED raw" in alone.err) == ("hi", True)
    for command in (["agents", "list"], ["workflows", "show", "loud"], ["check"]):
        assert isinstance(loud(*command, "--json").json, list | dict)


def test_help_and_version_stay_on_stdout(loud: Ucop) -> None:
    assert loud("--version").out.startswith("ucop ")
    assert "Usage" in loud("run", "--help").out


def test_an_output_that_cannot_be_written_is_an_error(loud: Ucop) -> None:
    for stdout, why in ((">/dev/full", "No space left"), (">&-", "stdout is closed")):
        done = loud.shell(f"ucop {' '.join(RUN)} {stdout}")
        assert done.code == 1
        assert f"error: the output was not written: {why}" in done.err
        assert "completed after" in done.err
        done = loud.shell(f"ucop jobs list {stdout}")
        assert (done.code, done.out) == (1, "")
        assert "Traceback" not in done.err
        done = loud.shell(f"ucop --help {stdout}")
        assert done.code == 1
        assert why in done.err


def test_without_stderr_a_command_does_its_work(loud: Ucop) -> None:
    for stderr in ("2>/dev/full", "2>&-", "2>&- <&-"):
        done = loud.shell(f"ucop {' '.join(RUN)} --json {stderr}")
        assert (done.code, json.loads(done.out)["status"]) == (0, "completed")


def test_with_no_stream_at_all_nothing_lands_in_the_database(loud: Ucop) -> None:
    assert loud.shell(f"ucop {' '.join(RUN)} >&- 2>&- <&-").code == 1
    (job,) = loud("jobs", "list", "--json").json
    assert job["status"] == "completed"


def raw(ucop: Ucop, *args: bytes, **env: bytes) -> subprocess.CompletedProcess[bytes]:
    words = [os.fsencode(word) for word in UCOP]
    given = {os.fsencode(k): os.fsencode(v) for k, v in ucop.env.items()}
    given |= {os.fsencode(k): v for k, v in env.items()}
    return subprocess.run(
        [*words, *args], cwd=ucop.folder, env=given, capture_output=True, check=False
    )


def test_bytes_that_are_no_text_are_refused_in_arguments_and_the_environment(loud: Ucop) -> None:
    for args in ([b"jobs", b"show", b"\xff"], [b"run", b"loud", b"-i", b"text=\xff"]):
        done = raw(loud, *args)
        assert done.returncode == 2
        assert f"error: argument {len(args)} is not UTF-8: ".encode() in done.stderr
    done = raw(loud, b"jobs", b"list", UCOP_DATABASE=b"sqlite:///\xff.db")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"the environment variable UCOP_DATABASE is not UTF-8" in done.stderr
    assert raw(loud, b"agents", b"list", OTHERS=b"\xff").returncode == 0


def test_bytes_that_are_no_text_are_refused_in_files(loud: Ucop) -> None:
    bad = {
        "bad.yaml": b'name: bad\ninput: {a: "\xff"}\n',
        "bad.py": b'graph = "\xff"\n',
        "bad.json": b'{"text": "\xff"}',
        "other/ucop.toml": b'mode = "\xff"',
        "third/langgraph.json": b'{"graphs": {"a": "\xff"}}',
    }
    for name, data in bad.items():
        file = loud.folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(data)
    commands = (
        "workflows check bad.yaml",
        "run bad.yaml",
        "run bad.py:graph",
        "run loud --input-file bad.json",
        "run loud --input-file - < bad.json",
        "jobs import bad.json",
        "--project other jobs list",
        "--project third jobs list",
    )
    for command in commands:
        done = loud.shell(f"ucop {command}")
        assert (done.code, done.out.count("Traceback")) == (2, 0), command
        assert "utf-8" in done.err.lower(), command


def test_a_long_error_is_cut_in_what_a_person_is_told(loud: Ucop) -> None:
    loud.write("loud.py", LOUD.replace("return text", 'raise ValueError("x" * 20_000_000)'))
    done = loud(*RUN)
    assert done.code == 1
    assert "ValueError: xxx" in done.err
    assert len(done.err) < 100_000


def test_an_editor_has_the_stdout_of_the_command(loud: Ucop) -> None:
    assert loud(*RUN).code == 0
    (job,) = loud("jobs", "list", "--json").json
    loud.write("edit.sh", "#!/bin/sh\necho OPENED\n").chmod(0o755)
    done = loud(
        "checkpoints", "fork", job["id"], "--edit", EDITOR=str(Path(loud.folder / "edit.sh"))
    )
    assert (done.code, done.out) == (2, "OPENED\n")
