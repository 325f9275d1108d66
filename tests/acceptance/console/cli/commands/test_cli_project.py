"""`ucop init`, `workflows`, `agents`, `models`, completion: what a project has."""

from __future__ import annotations

from tests.support.command import Ucop
from tests.support.ollama import ScriptedOllama, answer


def test_a_new_project_works_at_once(bare: Ucop) -> None:
    made = bare("init", "fresh")
    assert made.out.split() == [
        "fresh/ucop.toml",
        "fresh/workflows/greet.yaml",
        "fresh/workflows/workflow.schema.json",
        "fresh/agents.py",
    ]
    bare.folder /= "fresh"
    assert bare("workflows", "check").code == 0
    with ScriptedOllama([answer({"greeting": "Welcome, dear Ada!"})]) as ollama:
        done = bare("run", "greet", "-i", "name=Ada", OLLAMA_HOST=ollama.url)
    assert (done.code, done.out) == (0, "greeting: Welcome, dear Ada!\nwords: 3\n")


def test_init_overwrites_nothing(bare: Ucop) -> None:
    mine = bare.write("agents.py", "# mine\n")
    done = bare("init")
    assert done.code == 2
    assert "agents.py" in done.err
    assert mine.read_text() == "# mine\n"
    assert [path.name for path in bare.folder.iterdir()] == ["agents.py"]


def test_workflows_are_listed_with_where_they_come_from(ucop: Ucop) -> None:
    rows = {row[0]: row for row in ucop("workflows", "list").rows}
    assert rows["say"] == ["say", "yaml", "workflows/say.yaml", "Say something loudly."]
    assert rows["adder"][1:3] == ["python", "flows.py:adder"]
    assert "blog" in rows
    assert {one["name"] for one in ucop("workflows", "list", "--json").json} == set(rows)


def test_a_workflow_shows_its_inputs_and_nodes(ucop: Ucop) -> None:
    shown = ucop("workflows", "show", "say").out
    assert "text: string, required" in shown
    assert "times: integer, default 1" in shown
    assert "shout: agent shout, writes said" in shown
    assert ucop("workflows", "show", "adder", "--json").json["nodes"] == ["sum_up"]
    assert ucop("workflows", "show", "nonesuch").code == 3


def test_sound_workflows_pass_the_check(ucop: Ucop) -> None:
    done = ucop("workflows", "check", "say", "workflows/gated.yaml", "adder")
    assert (done.code, done.out) == (0, "say: ok\nworkflows/gated.yaml: ok\nadder: ok\n")


def test_the_check_of_all_tells_the_mistakes_of_each(ucop: Ucop) -> None:
    ucop.write("workflows/say.yaml", "name: say\nnodes:\n  one: {agent: shot}\n")
    ucop.write("workflows/twice.yaml", "name: twice\nname: twice\n")
    done = ucop("workflows", "check")
    assert done.code == 2
    assert "workflows/say.yaml:3:" in done.err
    assert "workflows/twice.yaml:2:1" in done.err
    assert "gated: ok" in done.out
    found = ucop("workflows", "check", "--json").json
    assert {one["file"] for one in found} >= {"workflows/say.yaml", "workflows/twice.yaml"}
    assert all(one["line"] and one["column"] for one in found)
    (unknown,) = [one for one in found if one["code"] == "unknown-agent"]
    assert (unknown["severity"], unknown["hint"]) == ("error", "did you mean 'shout'?")
    assert unknown["end_column"] - unknown["column"] == len("shot")


def test_a_check_that_only_warns_says_so_and_passes(ucop: Ucop) -> None:
    ucop.write(
        "workflows/say.yaml",
        "name: say\ninput: {unused: string}\nnodes:\n  one: {agent: shout, with: {text: a}}\n",
    )
    done = ucop("workflows", "check", "say")
    assert done.code == 0
    assert "warning: the input 'unused' is never used" in done.err


def test_agents_are_listed_and_shown(ucop: Ucop) -> None:
    rows = {row[0]: row for row in ucop("agents", "list").rows}
    assert rows["shout"][1] == "python"
    assert rows["shout"][3] == "Say it louder."
    assert "text: string, required" in ucop("agents", "show", "shout").out
    prompt = ucop("agents", "show", "reviewer", "--json").json
    assert prompt["spec"]["prompt"]
    assert ucop("agents", "show", "shoot").code == 3


def test_models_tell_what_answers_to_a_name(ucop: Ucop) -> None:
    ucop.write("ucop.toml", '[models]\nfast = "ollama:tiny"\n')
    with ScriptedOllama(models=["tiny:latest"]) as ollama:
        rows = {
            one["name"]: one
            for one in ucop("models", "list", "--json", OLLAMA_HOST=ollama.url).json
        }
    assert rows["fast"]["answered_by"] == "ollama:tiny"
    assert rows["default"]["answered_by"] is None
    assert rows["default"]["note"]


def test_the_shell_completes_commands_jobs_and_workflows(ucop: Ucop) -> None:
    id = ucop("run", "say", "-i", "text=hello", "--detach").out.strip()
    complete = {"_UCOP_COMPLETE": "complete_bash"}
    commands = ucop(COMP_WORDS="ucop jobs ", COMP_CWORD="2", **complete)
    assert {"list", "show", "watch", "events", "resume"} <= set(commands.out.split())
    jobs = ucop(COMP_WORDS=f"ucop jobs show {id[:3]}", COMP_CWORD="3", **complete)
    assert jobs.out.split() == [id]
    workflows = ucop(COMP_WORDS="ucop run g", COMP_CWORD="2", **complete)
    assert workflows.out.split() == ["gated"]


def test_the_version_is_told(bare: Ucop) -> None:
    done = bare("--version")
    assert (done.code, done.out.split()[0]) == (0, "ucop")
