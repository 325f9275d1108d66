"""`ucop run`: a job from what was typed to its result, in a real process."""

from __future__ import annotations

import json
import re

import pytest

from tests.support.command import Ucop, until
from tests.support.ollama import ScriptedOllama, answer

DATABASE = ".ucop/ucop.db"


def job_id(text: str) -> str:
    found = re.search(r"\b[0-9a-f]{20}\b", text)
    assert found, text
    return found[0]


# ---------------------------------------------------------------- a job that ends well


def test_the_output_alone_goes_to_stdout(ucop: Ucop) -> None:
    done = ucop("run", "say", "-i", "text=hello there")
    assert (done.code, done.out) == (0, "HELLO THERE\n")
    id = job_id(done.err)
    for said in ("shout: running", "shout: done in", f"job {id} completed", f"jobs show {id}"):
        assert said in done.err


def test_json_gives_the_whole_job(ucop: Ucop) -> None:
    job = ucop("run", "say", "-i", "text=hi", "--label", "who=me", "--key", "k1", "--json").json
    assert (job["workflow"], job["status"], job["output"]) == ("say", "completed", "HI")
    assert (job["input"], job["labels"], job["key"]) == (
        {"text": "hi", "times": 1},
        {"who": "me"},
        "k1",
    )
    assert [step["node"] for step in job["steps"]] == ["shout"]


def test_a_python_graph_is_taken_as_it_is(ucop: Ucop) -> None:
    done = ucop("run", "adder", "-i", "numbers=[1, 2, 3]", "--json")
    assert (done.code, done.json["output"]["total"]) == (0, 6)


def test_a_python_graph_that_the_project_does_not_name_runs_too(ucop: Ucop) -> None:
    ucop.write("ucop.toml", "")
    done = ucop("run", "flows.py:adder", "-i", "numbers=[1, 2]")
    assert done.code == 0
    assert "total" in done.out
    assert "is known to this command alone" in done.err


def test_a_graph_that_no_worker_would_know_is_not_queued(ucop: Ucop) -> None:
    ucop.write("ucop.toml", "")
    done = ucop("run", "flows.py:adder", "-i", "numbers=[1, 2]", "--detach")
    assert done.code == 2
    assert "ucop.toml" in done.err
    assert not (ucop.folder / DATABASE).exists()


def test_generate_puts_its_text_into_the_first_required_text_input(ucop: Ucop) -> None:
    done = ucop("generate", "say", "some words", "-i", "times=2", "--json")
    assert done.json["input"] == {"text": "some words", "times": 2}


def test_generate_needs_an_input_that_takes_text(ucop: Ucop) -> None:
    ucop.write("workflows/count.yaml", "name: count\ninput: {n: integer}\nnodes: {}\n")
    ucop.write(
        "workflows/count.yaml",
        "name: count\ninput: {n: integer}\n"
        'nodes:\n  shout: {agent: shout, with: {text: "${string(n)}"}, writes: said}\n',
    )
    done = ucop("generate", "count", "some words")
    assert done.code == 2
    assert "its inputs: n" in done.err


def test_inputs_come_from_a_file_and_from_options(ucop: Ucop) -> None:
    ucop.write("in.yaml", "text: from the file\ntimes: 3\n")
    done = ucop("run", "say", "--input-file", "in.yaml", "-i", "times=5", "--json")
    assert done.json["input"] == {"text": "from the file", "times": 5}


def test_inputs_come_from_stdin(ucop: Ucop) -> None:
    done = ucop("run", "say", "--input-file", "-", input='{"text": "piped"}')
    assert done.out == "PIPED\n"


def test_tokens_are_those_that_the_endpoint_counted(ucop: Ucop) -> None:
    ucop.write(
        "workflows/ask.yaml",
        "name: ask\ninput: {question: string}\n"
        "agents:\n  replier:\n    input: {question: string}\n    prompt: Answer ${question}\n"
        "    output: {reply: string}\n"
        "nodes:\n"
        '  reply: {agent: replier, with: {question: "${question}"}, writes: answer}\n'
        'output: "${answer.reply}"\n',
    )
    with ScriptedOllama([answer({"reply": "because"}, tokens=(31, 7))]) as ollama:
        done = ucop("run", "ask", "-i", "question=why", OLLAMA_HOST=ollama.url)
        job = ucop("jobs", "show", job_id(done.err), "--json").json
    assert (done.code, done.out) == (0, "because\n")
    assert "model: " in done.err
    assert "31 tokens in, 7" in done.err
    usage = job["usage"]
    assert (usage["model_calls"], usage["tokens_in"], usage["tokens_out"]) == (1, 31, 7)


# ---------------------------------------------------------------- what is refused


def test_an_unknown_workflow_is_not_found(ucop: Ucop) -> None:
    done = ucop("run", "sya", "-i", "text=hello")
    assert done.code == 3
    assert "did you mean 'say'?" in done.err


def test_every_input_that_does_not_fit_is_named_with_its_place(ucop: Ucop) -> None:
    done = ucop("run", "say", "-i", "text=x", "-i", "times=many", "-i", "txet=y")
    assert done.code == 2
    assert "workflows/say.yaml:4" in done.err
    assert "workflows/say.yaml:5" in done.err
    assert "txet" in done.err


def test_a_missing_input_is_named(ucop: Ucop) -> None:
    done = ucop("run", "say")
    assert done.code == 2
    assert "'text' is missing" in done.err


@pytest.mark.parametrize("typed", ["text", "=x"])
def test_an_option_that_is_no_pair_is_named(ucop: Ucop, typed: str) -> None:
    done = ucop("run", "say", "-i", typed)
    assert done.code == 2
    assert repr(typed) in done.err


def test_all_mistakes_of_a_file_are_told_at_once_with_their_lines(ucop: Ucop) -> None:
    file = ucop.write(
        "bad.yaml",
        "name: bad\ninput: {text: string}\nnodes:\n"
        '  one: {agent: shot, with: {text: "${text}"}, writes: a}\n'
        '  two: {agent: shout, with: {text: "${b}"}, writes: c}\n'
        "edges: [START -> one -> two -> END]\n",
    )
    done = ucop("run", "bad.yaml", "-i", "text=hello")
    assert done.code == 2
    assert f"{file.name}:4:16: error:" in done.err
    assert f"{file.name}:5:39: error:" in done.err
    lines = done.err.splitlines()
    at = next(number for number, line in enumerate(lines) if "agent: shot" in line)
    assert lines[at + 1].strip() == "^^^^"
    assert lines[at + 1].index("^") == lines[at].index("shot")


def test_a_refused_run_writes_no_database(ucop: Ucop) -> None:
    ucop("run", "say")
    ucop("run", "sya")
    ucop("run", "say", "-i", "text=x", "--detach")
    ucop("run", "say", "--label", "nonsense", "-i", "text=fine")
    assert not (ucop.folder / ".ucop").exists()


def test_usage_is_explained(ucop: Ucop) -> None:
    done = ucop("run", "say", "--nonsense")
    assert done.code == 2
    assert "--nonsense" in done.err
    assert "Traceback" not in done.err


def test_a_broken_setting_is_named(ucop: Ucop) -> None:
    ucop.write("ucop.toml", "databse = 'x'")
    done = ucop("run", "say", "-i", "text=hello")
    assert done.code == 2
    assert "ucop.toml" in done.err
    assert "databse" in done.err


def test_a_defect_is_told_without_a_traceback(ucop: Ucop) -> None:
    ucop.write("boom.py", "raise SystemError('boom')\n")
    ucop.write("sitecustomize.py", "import ucop.engine.reading.reader as r\ndel r.open_reader\n")
    plain = ucop("jobs", "list", PYTHONPATH=str(ucop.folder))
    assert plain.code == 70
    assert "UCOP_DEBUG=1" in plain.err
    assert "Traceback" not in plain.err
    debugged = ucop("jobs", "list", PYTHONPATH=str(ucop.folder), UCOP_DEBUG="1")
    assert "Traceback" in debugged.err


# ---------------------------------------------------------------- keys


def test_one_key_gives_one_job(ucop: Ucop) -> None:
    first = ucop("run", "say", "-i", "text=hello", "--key", "k", "--json").json
    again = ucop("run", "say", "-i", "text=hello", "--key", "k", "--json").json
    assert first["id"] == again["id"]
    assert ucop.lines("ran.txt") == ["shout"]


def test_another_input_under_a_used_key_is_refused(ucop: Ucop) -> None:
    ucop("run", "say", "-i", "text=hello", "--key", "k")
    done = ucop("run", "say", "-i", "text=other", "--key", "k")
    assert done.code == 2
    assert "'k'" in done.err


# ---------------------------------------------------------------- failing and going on


def test_a_failed_node_fails_the_job_and_resume_goes_on_there(ucop: Ucop) -> None:
    failed = ucop("run", "needy", "-i", "text=hello")
    assert (failed.code, failed.out) == (1, "")
    assert "in node 'need': FileNotFoundError: no cure.txt" in failed.err
    assert ucop.lines("ran.txt") == ["shout", "need cure.txt"]
    id = job_id(failed.err)
    assert f"ucop jobs resume {id}" in failed.err

    ucop.write("cure.txt", "well")
    cured = ucop("jobs", "resume", id[:6])
    assert (cured.code, cured.out) == (0, "WELL\n")
    assert ucop.lines("ran.txt") == ["shout", "need cure.txt", "need cure.txt", "shout"]


def test_a_failed_job_is_resumed_for_a_worker(ucop: Ucop) -> None:
    id = job_id(ucop("run", "needy", "-i", "text=hello").err)
    ucop.write("cure.txt", "well")
    queued = ucop("jobs", "resume", id, "--detach")
    assert (queued.code, queued.out) == (0, f"{id}\n")
    assert "ucop worker" in queued.err
    assert ucop("jobs", "show", id, "--json").json["status"] == "pending"


def test_a_final_job_is_not_resumed(ucop: Ucop) -> None:
    id = job_id(ucop("run", "say", "-i", "text=hello").err)
    done = ucop("jobs", "resume", id)
    assert done.code == 2
    assert "completed, which is final" in done.err


def test_a_job_that_waits_for_a_person_says_so(ucop: Ucop) -> None:
    done = ucop("run", "asking", "-i", "numbers=[1]")
    assert done.code == 4
    assert "waits for a person" in done.err
    assert ucop("jobs", "resume", job_id(done.err)).code == 4


# ---------------------------------------------------------------- interrupted


def test_ctrl_c_stops_without_a_loss_and_names_the_line_that_goes_on(ucop: Ucop) -> None:
    running = ucop.start("run", "gated", "-i", "text=hello")
    running.until("gate: running")
    running.signal()
    running.until("stopping:")
    stopped = running.end()
    assert stopped.code == 130
    id = job_id(stopped.err)
    assert stopped.err.splitlines()[-1].strip() == f"ucop jobs resume {id}"

    ucop.write("go.txt", "on")
    resumed = ucop("jobs", "resume", id, "--json")
    assert resumed.code == 0
    assert resumed.json["output"] == {"said": "HELLO", "answer": "ON"}
    assert ucop.lines("ran.txt").count("shout") == 2


def test_a_node_that_ends_while_the_job_is_stopped_is_kept(ucop: Ucop) -> None:
    running = ucop.start("run", "gated", "-i", "text=hello")
    running.until("gate: running")
    running.signal()
    running.until("stopping:")
    ucop.write("go.txt", "on")
    id = job_id(running.end().err)
    assert ucop("jobs", "resume", id).code == 0
    assert ucop.lines("ran.txt").count("wait for go.txt") == 1


def test_a_second_ctrl_c_stops_at_once(ucop: Ucop) -> None:
    running = ucop.start("run", "gated", "-i", "text=hello", UCOP_GRACE="60")
    running.until("gate: running")
    running.signal()
    running.until("stopping:")
    running.signal()
    assert running.end().code == 130


def test_a_killed_run_is_taken_up_by_resume(ucop: Ucop) -> None:
    running = ucop.start("run", "gated", "-i", "text=hello")
    running.until("gate: running")
    id = job_id(running.until("running, attempt 1"))
    running.process.kill()
    running.end()
    assert ucop("jobs", "show", id, "--json").json["status"] == "running"
    ucop.write("go.txt", "on")
    resumed = ucop("jobs", "resume", id, "--json")
    assert (resumed.code, resumed.json["status"]) == (0, "completed")
    assert resumed.json["attempt"] == 2
    assert ucop.lines("ran.txt").count("shout") == 2


def test_a_job_that_runs_elsewhere_is_not_resumed(ucop: Ucop) -> None:
    running = ucop.start("run", "gated", "-i", "text=hello")
    running.until("gate: running")
    id = job_id(running.until("running, attempt 1"))
    refused = ucop("jobs", "resume", id)
    assert refused.code == 2
    assert f"ucop jobs watch {id}" in refused.err
    ucop.write("go.txt", "on")
    assert running.end().code == 0


# ---------------------------------------------------------------- detached


def test_a_detached_job_is_run_by_a_worker_and_watched_from_elsewhere(ucop: Ucop) -> None:
    queued = ucop("run", "gated", "-i", "text=hello", "--detach")
    id = queued.out.strip()
    assert (queued.code, len(id)) == (0, 20)
    assert "no worker is running; start one with: ucop worker" in queued.err

    watching = ucop.start("jobs", "watch", id)
    watching.until("no worker is running")
    worker = ucop.start("worker")
    watching.until("gate: running")
    ucop.write("go.txt", "on")
    watched = watching.end()
    assert watched.code == 0
    assert watched.out == "said: HELLO\nanswer: ON\n"

    worker.signal(15)
    assert worker.end().code == 0


def test_a_watched_job_that_fails_gives_its_exit_code(ucop: Ucop) -> None:
    id = job_id(ucop("run", "needy", "-i", "text=hello").err)
    watched = ucop("jobs", "watch", id, "--json")
    assert (watched.code, json.loads(watched.out)["error"]["node"]) == (1, "need")


def test_watching_can_stop_while_the_job_goes_on(ucop: Ucop) -> None:
    running = ucop.start("run", "gated", "-i", "text=hello")
    id = job_id(running.until("running, attempt 1"))
    watching = ucop.start("jobs", "watch", id)
    watching.until("gate: running")
    watching.signal()
    stopped = watching.end()
    assert stopped.code == 130
    assert "goes on" in stopped.err
    ucop.write("go.txt", "on")
    assert running.end().code == 0


def test_no_hint_of_a_worker_where_one_runs(ucop: Ucop) -> None:
    worker = ucop.start("worker")
    worker.until("Ctrl-C stops")
    queued = ucop("run", "say", "-i", "text=hello", "--detach", "--json")
    assert "no worker" not in queued.err
    id = queued.json["id"]
    until(lambda: ucop("jobs", "show", id, "--json").json["status"] == "completed", "job completed")
    worker.signal()
    assert worker.end().code == 130
