"""Which agents there are: bundled, a project's own, entry points; and clashes between them."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from ucop.agents import InvalidDefinition, Registry, UnknownAgent, agent, load_registry
from ucop.agents.spec import registry as registry_module
from ucop.agents.spec.agent import spec_agent
from ucop.agents.spec.spec import AgentSpec

BUNDLED = {
    "example_writer",
    "fact_checker",
    "fact_finder",
    "story_writer",
    "article_writer",
    "assembler",
    "code_checker",
    "code_planner",
    "code_writer",
    "coder",
    "document_reader",
    "draft_writer",
    "drafter",
    "duplicate_finder",
    "expression_writer",
    "function_writer",
    "gatekeeper",
    "headline_writer",
    "note_grouper",
    "note_taker",
    "outliner",
    "paragraph_writer",
    "report_writer",
    "researcher",
    "reviewer",
    "reviser",
    "rewriter",
    "section_writer",
    "text_checker",
    "text_reviewer",
    "text_writer",
    "topic_finder",
}


@agent(capabilities=["count"])
def counter(text: str) -> int:
    return len(text)


@agent(capabilities=["count", "shout"], category="noise")
def shouter(text: str) -> str:
    return text.upper()


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return tmp_path


def test_agents_are_found_by_name_capability_and_category() -> None:
    one = Registry.of(shouter, counter)
    assert one.names() == ["counter", "shouter"]
    assert [a.name for a in one.find(capability="count")] == ["counter", "shouter"]
    assert [a.name for a in one.find(capability="count", category="noise")] == ["shouter"]
    assert one.find(capability="fly") == []
    assert [a.name for a in one] == one.names()
    assert "counter" in one
    assert len(one) == 2


def test_an_unknown_agent_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(UnknownAgent, match="no agent named 'counte'; did you mean 'counter'"):
        Registry.of(counter).get("counte")
    with pytest.raises(UnknownAgent, match="ucop agents list"):
        Registry.of(counter).get("zzz")


def test_extending_gives_a_new_registry_in_which_the_new_agents_win() -> None:
    one = Registry.of(counter)

    @agent("counter")
    def other(text: str) -> int:
        return 0

    two = one.extended(Registry.of(other))
    assert two.get("counter").body is not one.get("counter").body
    assert len(one) == 1


def test_two_agents_of_one_name_are_a_clash() -> None:
    @agent("counter")
    def other(text: str) -> int:
        return 0

    with pytest.raises(InvalidDefinition, match=r"two agents are named 'counter': in .* and in"):
        Registry.of(counter, other)
    assert len(Registry.of(counter, counter)) == 1


def test_every_bundled_agent_loads_and_describes_itself() -> None:
    one = load_registry(None)
    assert set(one.names()) == BUNDLED
    for each in one:
        assert each.bundled
        assert each.description
        assert each.capabilities
        assert each.category
        assert each.input_schema["type"] == "object"
        assert each.output_schema is not None


def test_a_project_brings_yaml_files_python_files_and_modules(project: Path) -> None:
    write(project / "agents/a.yaml", "name: a\nprompt: x\n")
    write(project / "agents/b.yaml", "name: b\nprompt: x\n")
    write(
        project / "mine.py",
        "import extra\nfrom ucop.agents import agent\n@agent\ndef c() -> int: return 1\n",
    )
    write(project / "extra.py", "from ucop.agents import agent\n@agent\ndef d() -> int: return 1\n")
    one = load_registry(project, ["agents/*.yaml", "mine.py", "extra"], bundled=False)
    assert one.names() == ["a", "b", "c", "d"]
    assert one.get("a").origin == "agents/a.yaml"
    assert one.get("c").origin == "mine.py:3"


def test_two_projects_with_files_of_one_name_do_not_mix(project: Path) -> None:
    for folder in ("one", "two"):
        text = f"from ucop.agents import agent\n@agent\ndef {folder}() -> int: return 1\n"
        write(project / folder / "flows.py", text)
        found = load_registry(project / folder, ["flows.py"], bundled=False)
        assert found.names() == [folder]


def test_a_projects_agent_takes_the_place_of_a_bundled_one(project: Path) -> None:
    write(project / "r.yaml", "name: reviewer\nprompt: x\n")
    assert not load_registry(project, ["r.yaml"]).get("reviewer").bundled


def test_everything_that_is_wrong_in_a_project_is_told_at_once(project: Path) -> None:
    write(project / "a/one.yaml", "name: one\nprompt: '${x}'\n")
    write(project / "a/two.yaml", "name: two\n  prompt: x\n")
    write(project / "a/three.yaml", "name: same\nprompt: x\n")
    write(project / "a/four.yaml", "name: same\nprompt: y\n")
    write(project / "broken.py", "x = 1\ny = x.nothing\n")
    write(project / "syntax.py", "def f(:\n")
    patterns = ["a/*.yaml", "broken.py", "syntax.py", "none.yaml", "none.py", "no_module"]
    with pytest.raises(InvalidDefinition) as caught:
        load_registry(project, patterns)
    told = str(caught.value)
    assert f"{project}/broken.py:2:1: importing broken failed: AttributeError" in told
    assert "syntax.py:1:" in told
    assert "none.yaml:1:1: there is no such file" in told
    assert "none.py: there is no such file" in told
    assert "there is no module 'no_module'" in told


def test_a_broken_file_does_not_hide_the_mistakes_of_the_next(project: Path) -> None:
    write(project / "a.yaml", "name: a\nprompt: '${x}'\n")
    write(project / "b.yaml", "name: b\nprompt: '${y}'\n")
    with pytest.raises(InvalidDefinition) as caught:
        load_registry(project, ["*.yaml"])
    assert [f.position.file for f in caught.value.findings if f.position] == ["a.yaml", "b.yaml"]


def test_agents_of_other_packages_come_by_entry_points(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = [
        EntryPoint("one", f"{__name__}:counter", "ucop.agents"),
        EntryPoint("two", f"{__name__}:BOTH", "ucop.agents"),
    ]
    monkeypatch.setattr(registry_module, "entry_points", lambda group: points)
    assert load_registry(None, bundled=False).names() == ["counter", "shouter"]
    points.append(EntryPoint("bad", f"{__name__}:BUNDLED", "ucop.agents"))
    points.append(EntryPoint("gone", "no_such_module:x", "ucop.agents"))
    with pytest.raises(InvalidDefinition) as caught:
        load_registry(None)
    assert len(caught.value.findings) == 2


BOTH = (counter, shouter)


def clash(project: Path, *patterns: str) -> list[str]:
    with pytest.raises(InvalidDefinition) as caught:
        load_registry(project, patterns, bundled=False)
    return str(caught.value).splitlines()


def test_a_clash_of_two_files_of_yaml_is_told_with_the_place_of_the_second(project: Path) -> None:
    write(project / "a.yaml", "name: same\nprompt: x\n")
    write(project / "b.yaml", "agents:\n  other: {prompt: x}\n  same: {prompt: y}\n")
    assert clash(project, "*.yaml") == [
        "b.yaml:3:3: two agents are named 'same': in a.yaml and in b.yaml:3"
    ]


def test_a_clash_of_yaml_and_python_is_told_with_its_place(project: Path) -> None:
    write(project / "a.yaml", "name: same\nprompt: x\n")
    write(
        project / "mine.py",
        "from ucop.agents import agent\n\n@agent\ndef same() -> int: return 1\n",
    )
    assert clash(project, "a.yaml", "mine.py") == [
        f"{project}/mine.py:3:1: two agents are named 'same': in a.yaml and in mine.py:3"
    ]
    assert clash(project, "mine.py", "a.yaml") == [
        "a.yaml:1:7: two agents are named 'same': in mine.py:3 and in a.yaml"
    ]


def test_a_clash_of_an_installed_package_and_the_project_is_told(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = [EntryPoint("one", f"{__name__}:counter", "ucop.agents")]
    monkeypatch.setattr(registry_module, "entry_points", lambda group: points)
    write(project / "a.yaml", "name: counter\nprompt: x\n")
    (told,) = clash(project, "a.yaml")
    assert told.startswith(f"{__file__}:")
    assert "two agents are named 'counter': in a.yaml and in test_registry.py:" in told


def test_a_module_that_ends_the_process_or_needs_another_is_told_with_its_line(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(project / "ends.py", "import sys\n\nsys.exit('no licence')\n")
    write(project / "needs.py", "\nimport no_such_library\n")
    points = [EntryPoint("ends", "entry_that_ends:x", "ucop.agents")]
    monkeypatch.setattr(registry_module, "entry_points", lambda group: points)
    write(project / "entry_that_ends.py", "raise SystemExit(3)\n")
    assert clash(project, "ends.py", "needs.py") == [
        f"{project}/ends.py:3:1: importing ends failed: SystemExit: no licence",
        f"{project}/needs.py:2:1: importing needs failed: "
        "ModuleNotFoundError: No module named 'no_such_library'",
        f"{project}/entry_that_ends.py:1:1: entry point 'ends': SystemExit: 3",
    ]


def test_an_agent_that_was_made_by_hand_keeps_to_the_rule_for_names() -> None:
    with pytest.raises(InvalidDefinition, match=r"'two words' \(x\) is no name for an agent"):
        Registry.of(spec_agent(AgentSpec.model_construct(name="two words", prompt="x"), "x"))


def test_listing_agents_imports_no_model_library() -> None:
    code = (
        "import sys; from ucop.agents import load_registry\n"
        "assert len(load_registry(None)) >= 9\n"
        "heavy = {'langchain_core', 'langgraph', 'ollama', 'dbos', 'sqlalchemy', 'httpx', 'cel'}\n"
        "print(heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
