"""Functions around test doubles, as a project that is not ready for production has them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any
from unittest.mock import MagicMock

from langchain_core.language_models import FakeListChatModel
from langchain_core.language_models.fake_chat_models import ParrotFakeChatModel
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langchain_ollama import ChatOllama
from langgraph.prebuilt import ToolNode

real = ChatOllama(model="llama3.2")
fake = FakeListChatModel(responses=["yes"])
parrot = ParrotFakeChatModel()
mocked = MagicMock()
chain = real.with_fallbacks([fake]).with_retry() | RunnableLambda(str)
bound = parrot.bind(stop=["."])


class Paid:
    """A service that a test marks."""

    __test_double__ = True

    def charge(self) -> int:
        return 1


class Settled(Paid):
    """A subclass that says it is the real thing."""

    __test_double__ = False


paid, settled = Paid(), Settled()


class Writer:
    """Holds its model, as classes of nodes do."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __call__(self, state: Any) -> Any:
        return self.model.invoke(str(state))

    def write(self, state: Any) -> Any:
        return self.model.invoke(str(state))


class Author(Writer):
    """Asks a function of its module."""

    def use_helper(self, state: Any) -> Any:
        return by_global(state)


@tool
def look_up(word: str) -> str:
    """Look a word up."""
    return str(mocked(word))


tools = ToolNode([look_up])


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def wrapper(*arguments: Any) -> Any:
        return function(*arguments)

    return wrapper


def honest(state: Any) -> Any:
    return real.invoke(str(state))


def by_global(state: Any) -> Any:
    return fake.invoke(str(state))


def by_chain(state: Any) -> Any:
    return chain.invoke(str(state))


def by_binding(state: Any) -> Any:
    return bound.invoke(str(state))


def by_helper(state: Any) -> Any:
    return by_global(state)


@logged
def by_wrapper(state: Any) -> Any:
    return parrot.invoke(str(state))


def by_default(state: Any, model: Any = fake) -> Any:
    return model.invoke(str(state))


def by_keyword(state: Any, *, model: Any = fake) -> Any:
    return model.invoke(str(state))


def by_inner(state: Any) -> Any:
    def inner(one: Any) -> Any:
        return mocked(one)

    return [each(state) for each in (inner,)]


def by_import(state: Any) -> Any:
    from unittest.mock import Mock

    return Mock(state)


def by_module(state: Any) -> Any:
    import tests.support.doubles as here

    return here.mocked(state)


def by_class(state: Any) -> Any:
    return FakeListChatModel(responses=[str(state)])


def by_mark(state: Any) -> Any:
    return paid.charge()


def by_settled(state: Any) -> Any:
    return settled.charge()


def by_closure(model: Any) -> Callable[..., Any]:
    def node(state: Any) -> Any:
        return model.invoke(str(state))

    return node


@logged
def marked(state: Any) -> Any:
    return state


marked.__test_double__ = True  # type: ignore[attr-defined]
