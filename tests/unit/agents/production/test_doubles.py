"""Test doubles are found wherever an object holds them, and nothing real is taken for one."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, create_autospec, patch

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.language_models import FakeListLLM, GenericFakeChatModel
from langchain_core.runnables import RunnableParallel

from tests.support import doubles as held
from ucop.agents.production import doubles
from ucop.agents.production.doubles import doubles_in, kind_of_double
from ucop.agents.spec.function_body import FunctionBody
from ucop.agents.spec.registry import bundled_agents


class Worker:
    def work(self) -> None:
        """Do what workers do."""


given_a_model: Any = held.honest
"""Which takes none: only what is kept for the call is looked at."""


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (MagicMock(), "MagicMock of unittest.mock"),
        (MagicMock(spec=Worker), "MagicMock of unittest.mock"),
        (MagicMock, "the class MagicMock of unittest.mock"),
        (create_autospec(held.honest), "MagicMock of unittest.mock"),
        (create_autospec(Worker), "MagicMock of unittest.mock"),
        (GenericFakeChatModel(messages=iter(())), "GenericFakeChatModel, one of LangChain's fakes"),
        (FakeListLLM(responses=["a"]), "FakeListLLM, one of LangChain's fakes"),
        (DeterministicFakeEmbedding(size=3), "DeterministicFakeEmbedding, one of LangChain's"),
        (held.paid, "Paid, marked as a test double"),
        (held.Paid, "Paid, marked as a test double"),
        (held.marked, "marked, marked as a test double"),
    ],
)
def test_a_double_is_known_for_what_it_is(value: Any, what: str) -> None:
    assert (kind_of_double(value) or "").startswith(what)


@pytest.mark.parametrize(
    ("value", "ways"),
    [
        (held.by_global, ["it > fake"]),
        (held.by_chain, ["it > chain.first.fallbacks[0]"]),
        (held.by_binding, ["it > bound"]),
        (held.by_helper, ["it > by_global > fake"]),
        (held.by_wrapper, ["it > parrot"]),
        (held.by_default, ["it > model"]),
        (held.by_keyword, ["it > model"]),
        (held.by_inner, ["it > mocked"]),
        (held.by_import, ["it > unittest.mock", "it > Mock"]),
        (held.by_module, ["it > here.mocked"]),
        (held.by_class, ["it > FakeListChatModel"]),
        (held.by_mark, ["it > paid"]),
        (held.by_closure(held.parrot), ["it > model"]),
        (held.Writer(held.fake), ["it.model"]),
        (held.Writer(held.fake).write, ["it.model"]),
        (held.tools, ["it._tools_by_name['look_up'] > mocked"]),
        (held.look_up, ["it > mocked"]),
        (partial(held.by_global, 1), ["it > fake"]),
        (partial(held.honest, held.fake), ["it[0]"]),
        (partial(given_a_model, model=held.fake), ["it.model"]),
        ({"tools": [held.mocked]}, ["it['tools'][0]"]),
        (RunnableParallel(a=held.real, b=held.fake), ["it.steps__['b']"]),
        (patch("os.getcwd")(held.honest), ["it"]),
    ],
)
def test_a_double_is_found_where_it_is_held(value: Any, ways: list[str]) -> None:
    assert [double.way for double in doubles_in(value, "it")] == ways


@pytest.mark.parametrize(
    "value", [held.honest, held.by_settled, held.Writer(held.real), held.real, held.settled, Worker]
)
def test_the_real_thing_is_no_double(value: Any) -> None:
    assert doubles_in(value, "it") == []


def test_no_agent_that_comes_with_ucop_is_a_double() -> None:
    found = [double for agent in bundled_agents().values() for double in doubles_in(agent, "it")]
    assert found == []


def test_a_double_has_the_place_that_refers_to_it() -> None:
    (double,) = doubles_in(held.by_global, "it")
    position = double.position
    assert position is not None
    assert position.file == held.__file__
    line = Path(held.__file__).read_text(encoding="utf-8").splitlines()[position.line - 1]
    assert line[position.column - 1 :].startswith("fake.invoke")


def test_a_project_that_is_installed_as_a_package_is_looked_into(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doubles, "_is_outside", lambda file: False)
    body = FunctionBody(
        function=held.by_helper, parameters={}, takes_context=False, open_ended=False
    )
    for value in (held.by_helper, held.Author(held.real), partial(held.by_helper), body):
        (double,) = doubles_in(value, "it")
        assert double.way.endswith("by_global > fake")


def test_looking_computes_nothing() -> None:
    ran: list[str] = []

    class Shy:
        @property
        def model(self) -> Any:
            ran.append("property")
            return held.fake

        def __getattr__(self, name: str) -> Any:
            ran.append(name)
            raise AttributeError(name)

        def __iter__(self) -> Any:
            ran.append("iter")
            return iter(())

        def __eq__(self, other: object) -> bool:
            ran.append("eq")
            return True

        __hash__ = None  # type: ignore[assignment]

    class Keys(dict[str, Any]):
        def items(self) -> Any:
            ran.append("items")
            return ()

    doubles_in([Shy(), Keys(a=Shy())], "it")
    assert ran == []


def test_what_holds_itself_ends() -> None:
    loop: list[Any] = [held.fake]
    loop.append(loop)
    assert [double.way for double in doubles_in(loop, "it")] == ["it[0]"]
