"""Which classes may stand in a state, and under which names they are found again.

Nothing that stands in a row is called, and only classes named here are looked for.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args, get_type_hints

from langchain_core.runnables import Runnable
from langgraph.pregel import Pregel

from ucop.graphs.pregel.strict_msgpack import SAFE_TYPES

from ..errors import Unstorable, WorkflowChanged

Name = tuple[str, str]
"""A class's module, and its name in it, with dots where it stands inside another class."""

LIBRARY = (
    "langchain_core.messages",
    "langchain_core.documents",
    "langchain_core.agents",
    "langchain_core.outputs",
    "langchain_core.prompt_values",
    "langgraph.types",
    "langgraph.store.base",
    "langgraph.func",
)
"""Modules of LangChain and LangGraph whose classes are data."""

FRAMEWORKS = frozenset({"langgraph", "langchain", "langchain_core", "pydantic", "ucop", "numpy"})
"""What graphs are made with: that a node comes from there makes its modules no project's."""

LOCAL = "<locals>"


@dataclass(frozen=True, eq=False)
class StateTypes:
    """The classes that a serializer may write, and make again."""

    patterns: tuple[str, ...] = ()
    """`module:Class`, `module`, or `package.*`, as in the setting `types` of `[state]`."""
    own: frozenset[str] = frozenset()
    """Top names of the modules that graphs come from, beside those of the project itself."""
    keys: frozenset[Name] = frozenset()
    """Those that LangGraph reads in a graph's schema."""
    known: Mapping[Name, type] = field(default_factory=dict)
    """Those of a graph's schema themselves: they may stand inside a function."""
    lenient: bool = False
    """Whether all may be written, because it was checked already, and what cannot be made again is
    read as what it held."""
    _names: dict[type, Name] = field(default_factory=dict, init=False, repr=False)
    _kinds: dict[Name, type | None] = field(default_factory=dict, init=False, repr=False)

    def with_keys(self, keys: Iterable[tuple[str, ...]]) -> StateTypes:
        return replace(self, keys=self.keys | {(key[0], key[-1]) for key in keys})

    def with_graph(self, used: GraphTypes) -> StateTypes:
        return replace(
            self, own=self.own | used.own, known={**self.known, **used.known}, lenient=False
        )

    def name_of(self, kind: type) -> Name:
        """The name under which a class is found again. Raises Unstorable where it is not."""
        known = self._names.get(kind)
        if known is None:
            known = self._names[kind] = self._check(kind)
        return known

    def _check(self, kind: type) -> Name:
        name = (kind.__module__, kind.__qualname__)
        shown = f"{name[0]}.{name[1]}"
        if self.lenient:
            return name
        if LOCAL in name[1] and name not in self.known:
            raise Unstorable(
                shown,
                "its class stands inside a function, where no other process finds it. Define it "
                "at the top of a module, or name it in the graph's schema",
            )
        if not self._allows(name, kind):
            line = f'[state] types = ["{name[0]}:{name[1]}"]'
            raise Unstorable(
                shown,
                "its class belongs neither to this project nor to the graph's schema. To store "
                f"it, add to ucop.toml: {line}",
            )
        if self.known.get(name) is not kind and _find(name) is not kind:
            raise Unstorable(
                shown,
                "its class is not found again by its name. Define it at the top of a module, "
                "under that name",
            )
        return name

    def find(self, name: Name) -> type | None:
        """A class that a row names. Raises WorkflowChanged where it is gone, or may not stand there;
        None for who is lenient."""
        if name not in self._kinds:
            self._kinds[name] = self._sought(name)
        return self._kinds[name]

    def _sought(self, name: Name) -> type | None:
        kind = self.known.get(name)
        if kind is not None:
            return kind
        if not self._allows(name, None):
            if self.lenient:
                return None
            raise WorkflowChanged(
                f"the state holds a {name[0]}.{name[1]}, whose class belongs neither to this "
                "project nor to the graph's schema, so it is not made again. To allow it, add to "
                f'ucop.toml: [state] types = ["{name[0]}:{name[1]}"]'
            )
        found = _find(name) or _find((name[0], name[1].rpartition(".")[2]))
        if found is None and not self.lenient:
            raise WorkflowChanged(
                f"the state holds a {name[0]}.{name[1]}, and there is no such class any more. "
                "Restore it, under its old name too, and resume the job"
            )
        return found

    def _allows(self, name: Name, kind: type | None) -> bool:
        module, qualified = name
        simple = (module, qualified.rpartition(".")[2])
        return (
            name in SAFE_TYPES
            or simple in self.keys
            or name in self.known
            or _top(module) in self.own
            or is_own(_top(module))
            or any(module == each or module.startswith(f"{each}.") for each in LIBRARY)
            or any(_matches(pattern, module, qualified) for pattern in self.patterns)
            or (module == "builtins" and _is_error(kind or _find(name)))
        )


def _top(module: str) -> str:
    return module.partition(".")[0]


def _matches(pattern: str, module: str, name: str) -> bool:
    where, _, which = pattern.partition(":")
    if where.endswith(".*"):
        inside = module == where[:-2] or module.startswith(where[:-1])
    else:
        inside = module == where
    return inside and which in ("", "*", name)


def _is_error(kind: type | None) -> bool:
    return kind is not None and issubclass(kind, BaseException)


def _find(name: Name) -> type | None:
    module, qualified = name
    if LOCAL in qualified:
        return None
    try:
        found: Any = sys.modules.get(module) or importlib.import_module(module)
        for part in qualified.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError):
        return None
    return found if isinstance(found, type) else None


# ---------------------------------------------------------------- a project's own


@lru_cache(maxsize=1024)
def is_own(top: str) -> bool:
    """Whether a module is the project's own code: not installed, and no part of Python."""
    if top == "__main__":
        return True
    if top in sys.stdlib_module_names or top in FRAMEWORKS:
        return False
    places = _places(top)
    return bool(places) and not any(_is_installed(place) for place in places)


def _places(top: str) -> list[Path]:
    """The files or folders of a module, which is not imported for that."""
    module = sys.modules.get(top)
    try:
        spec = getattr(module, "__spec__", None) or importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return []
    file = getattr(module, "__file__", None) or getattr(spec, "origin", None)
    found = [file] if file else list(getattr(spec, "submodule_search_locations", None) or ())
    return [Path(place) for place in found]


def _is_installed(place: Path) -> bool:
    if {"site-packages", "dist-packages"} & set(place.parts):
        return True
    return any(place.is_relative_to(folder) for folder in _PYTHONS)


_PYTHONS = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")]


# ---------------------------------------------------------------- a graph's own


@dataclass(frozen=True)
class GraphTypes:
    """What a graph uses."""

    own: frozenset[str]
    """Top names of the modules that its nodes, tools and schemas come from."""
    known: Mapping[Name, type]
    """The classes that its schemas name."""


def graph_types(graph: Any) -> GraphTypes:
    """What a compiled graph and the graphs inside it use."""
    modules: set[str] = set()
    known: dict[Name, type] = {}
    _collect(graph, modules, known, set())
    own = {_top(module) for module in modules} - sys.stdlib_module_names - FRAMEWORKS
    return GraphTypes(frozenset(own), known)


def _collect(graph: Any, modules: set[str], known: dict[Name, type], seen: set[int]) -> None:
    if id(graph) in seen:
        return
    seen.add(id(graph))
    builder = getattr(graph, "builder", None)
    for schema in _schemas(graph, builder):
        for kind in named_classes(schema):
            known[kind.__module__, kind.__qualname__] = kind
            modules.add(kind.__module__)
    for call in _calls(graph, builder):
        if isinstance(call, Pregel):
            _collect(call, modules, known, seen)
        elif (module := _module_of(call)) is not None:
            modules.add(module)


def _schemas(graph: Any, builder: Any) -> Iterator[Any]:
    yield from getattr(builder, "schemas", None) or ()
    for name in ("state_schema", "input_schema", "output_schema", "context_schema"):
        yield getattr(builder, name, None)
    for spec in (getattr(builder, "nodes", None) or {}).values():
        yield getattr(spec, "input_schema", None)
    for channel in (getattr(graph, "channels", None) or {}).values():
        yield getattr(channel, "typ", None)


def _calls(graph: Any, builder: Any) -> Iterator[Any]:
    """The functions and graphs that a graph's nodes and conditions call."""
    nodes = getattr(builder, "nodes", None) or getattr(graph, "nodes", None) or {}
    for spec in nodes.values():
        bound = getattr(spec, "runnable", None) or getattr(spec, "bound", None) or spec
        yield from _inside(bound)
    for branches in (getattr(builder, "branches", None) or {}).values():
        for branch in branches.values():
            yield from _inside(branch.path)


def _inside(runnable: Any) -> Iterator[Any]:
    """What a node holds. Only LangChain's own kinds are asked: an object of the user's may have
    attributes of any name, such as a proxy that makes them up."""
    yield runnable
    if not isinstance(runnable, Runnable):
        return
    tools = getattr(runnable, "tools_by_name", None) or getattr(runnable, "_tools_by_name", None)
    for tool in (tools or {}).values():
        yield from (tool, getattr(tool, "func", None), getattr(tool, "coroutine", None))
    for step in getattr(runnable, "steps", ()) or ():
        yield from _inside(step)
    functions = [getattr(runnable, name, None) for name in ("func", "afunc")]
    yield from (function for function in functions if function is not None)


def _module_of(call: Any) -> str | None:
    if isinstance(call, functools.partial):
        return _module_of(call.func)
    if inspect.ismethod(call):
        return type(call.__self__).__module__
    if inspect.isfunction(call) or isinstance(call, type):
        return call.__module__
    return type(call).__module__ if call is not None else None


def named_classes(annotation: Any) -> Iterator[type]:
    """The classes that a type hint names, those of their own fields included."""
    yield from _names_in(annotation, set())


def _names_in(annotation: Any, seen: set[int]) -> Iterator[type]:
    if annotation is None or id(annotation) in seen:
        return
    seen.add(id(annotation))
    for argument in get_args(annotation):
        yield from _names_in(argument, seen)
    if not isinstance(annotation, type) or annotation.__module__ == "builtins":
        return
    if not hasattr(annotation, "__required_keys__"):  # a TypedDict's values are dicts
        yield annotation
    for hint in _hints(annotation).values():
        yield from _names_in(hint, seen)


def _hints(kind: type) -> Mapping[str, Any]:
    if kind.__module__ in sys.stdlib_module_names:
        return {}
    try:
        return get_type_hints(kind, include_extras=True)
    except Exception:  # noqa: BLE001 - a hint that only a type checker can read
        return {}
