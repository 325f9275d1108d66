"""Test doubles among the objects that an agent or a node is made of.

A double is an object of `unittest.mock`, one of LangChain's fake models, or anything that is
marked: a class, a function or an object with the attribute `__test_double__ = True`. It is
looked for in everything that a function or an object holds: through wrappers, bound methods,
partials, closures, default values, the globals that a function's code names, and the fields of
models, tools and chains. Nothing is called on the way and no attribute is computed, so that
looking changes nothing; what a function imports only when it runs is seen where its module is
loaded already.
"""

from __future__ import annotations

import dis
import functools
import inspect
import sys
import sysconfig
import types
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..finding import Position

MARK = "__test_double__"
"""Set to True on a class, a function or an object, it says: a test double. A subclass of a
marked class is one too, unless it sets False."""

MOST = 20_000
"""Objects that are looked at for one agent or node, the nearest first."""

_MOCKS = frozenset(("unittest.mock", "mock", "mock.mock"))
_ATOMS = frozenset(
    (type(None), bool, int, float, complex, str, bytes, bytearray, range, type(...))
) | {
    types.BuiltinFunctionType,
    types.CodeType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    types.ModuleType,
}
_FRAMEWORKS = ("langchain", "langgraph", "pydantic", "ucop")
_INSIDE = frozenset(
    ("func", "afunc", "_func", "coroutine", "bound", "runnable", "fn", "__wrapped__", "function")
)
"""Fields that hold what an object wraps: they are not told on the way to a double."""


@dataclass(frozen=True, kw_only=True)
class Double:
    """One test double."""

    what: str
    """What it is, for people: `FakeListChatModel, one of LangChain's fake models`."""
    way: str
    """How it was reached: `write > llm.fallbacks[0]`."""
    position: Position | None
    """Where code refers to it; None if no code of the project does."""

    def __str__(self) -> str:
        position = self.position
        place = f" ({Path(position.file).name}:{position.line})" if position else ""
        return f"{self.way} is {self.what}{place}"


def doubles_in(value: Any, name: str) -> list[Double]:
    """The test doubles in `value`, which people know as `name`; each once, the nearest first."""
    waiting = deque([_Place(value, name, None, root=True)])
    seen: dict[int, Any] = {}  # keeps what it saw alive, so that no id is used twice
    found: list[Double] = []
    while waiting and len(seen) < MOST:
        place = waiting.popleft()
        if id(place.value) in seen:
            continue
        seen[id(place.value)] = place.value
        what = kind_of_double(place.value)
        if what is not None:
            found.append(Double(what=what, way=place.way, position=place.position))
        elif type(place.value) not in _ATOMS:
            if place.root and not place.home:
                place = replace(place, home=_package(place.value))
            waiting.extend(_parts(place))
    return found


def kind_of_double(value: Any) -> str | None:
    """What kind of test double `value` itself is; None if it is none."""
    if type(value) is types.ModuleType:
        return f"the module {value.__name__}" if value.__name__ in _MOCKS else None
    if type(value) is types.FunctionType and "mock" in value.__dict__:
        # What create_autospec makes of a function is a function, with its mock in a field.
        return kind_of_double(value.__dict__["mock"])
    named, of = (value, "the class ") if _is_class(value) else (type(value), "")
    for base in type.mro(named) if named is not type else ():
        home = vars(base).get("__module__")
        if home in _MOCKS:
            return f"{of}{named.__name__} of {home}"
        if isinstance(home, str) and _is_langchains_fake(home):
            return f"{of}{named.__name__}, one of LangChain's fakes"
    if inspect.getattr_static(value, MARK, None) is True:
        shown = getattr(value, "__name__", None) if _is_named(value) else None
        return f"{shown or named.__name__}, marked as a test double"
    return None


@dataclass(frozen=True)
class _Place:
    """An object, and how it was reached."""

    value: Any
    way: str
    position: Position | None
    root: bool = False
    """Whether it is what was asked about, or what that wraps."""
    home: str = ""
    """The package of what was asked about: its code is looked into even if it is installed."""

    def part(self, name: str, value: Any) -> _Place:
        """A field of it."""
        if name in _INSIDE:
            return replace(self, value=value)
        return replace(self, value=value, way=f"{self.way}.{name}", root=False)

    def item(self, key: Any, value: Any) -> _Place:
        return replace(self, value=value, way=f"{self.way}[{key!r:.40}]", root=False)

    def reference(self, name: str, value: Any, position: Position | None) -> _Place:
        """What the code of a function refers to."""
        at = position or self.position
        return replace(self, value=value, way=f"{self.way} > {name}", position=at, root=False)


def _parts(place: _Place) -> Iterator[_Place]:
    """What `place` holds. Only the types' own methods are called, which no class overrides."""
    value, kind = place.value, type(place.value)
    if issubclass(kind, dict):
        yield from (place.item(key, held) for key, held in list(dict.items(value)))
    elif issubclass(kind, list | tuple | set | frozenset | deque):
        base = next(b for b in (list, tuple, set, frozenset, deque) if issubclass(kind, b))
        yield from (place.item(at, held) for at, held in enumerate(list(base.__iter__(value))))
    elif kind is types.FunctionType:
        yield from _parts_of_function(place)
    elif kind is types.MethodType:
        yield replace(place, value=value.__func__)
        yield replace(place, value=value.__self__)
    elif issubclass(kind, functools.partial):
        yield replace(place, value=value.func)
        yield from (place.item(at, held) for at, held in enumerate(value.args))
        yield from (place.part(name, held) for name, held in value.keywords.items())
    elif issubclass(kind, staticmethod | classmethod):
        yield replace(place, value=value.__func__)
    elif issubclass(kind, property):
        yield replace(place, value=value.fget)
    elif issubclass(kind, type):
        yield from _parts_of_class(place)
    else:
        yield from _parts_of_object(place)


def _parts_of_function(place: _Place) -> Iterator[_Place]:
    function = place.value
    code = function.__code__
    for name, held in function.__dict__.items():
        if not name.startswith("__ucop_"):
            yield place.part(name, held)
    at = Position(code.co_filename, code.co_firstlineno, 1)
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            held = cell.cell_contents
        except ValueError:  # not bound yet
            continue
        # A wrapper keeps what it wraps in a variable: that is no step on the way.
        wraps = "__wrapped__" in function.__dict__ or not _is_own(function, place.home)
        yield replace(place, value=held) if wraps else place.reference(name, held, at)
    for number, held in enumerate(function.__defaults__ or ()):
        yield place.reference(_parameter(function, number), held, at)
    for name, held in (function.__kwdefaults__ or {}).items():
        yield place.reference(name, held, at)
    if place.root or _is_own(function, place.home):
        for name, held, position in _references(code, function.__globals__):
            yield place.reference(name, held, position)


def _parts_of_class(place: _Place) -> Iterator[_Place]:
    """The methods and attributes of a class that the project itself defines."""
    if not _is_own_class(place.value, place.home):
        return
    for base in type.mro(place.value):
        if _is_own_class(base, place.home):
            yield from (place.part(name, held) for name, held in list(vars(base).items()))


def _parts_of_object(place: _Place) -> Iterator[_Place]:
    value, kind = place.value, type(place.value)
    held = _fields(value)
    if "__wrapped__" in held:
        yield replace(place, value=held["__wrapped__"])
    if _is_of_python(kind):
        return
    yield from (place.part(name, field) for name, field in held.items())
    if _is_own_class(kind, place.home):
        yield replace(place, value=kind)


def _fields(value: Any) -> dict[str, Any]:
    """The fields of an object, without asking its class for any."""
    try:
        fields = dict(object.__getattribute__(value, "__dict__"))
    except (AttributeError, TypeError):
        fields = {}
    for base in type.mro(type(value)):
        for name, slot in list(vars(base).items()):
            if isinstance(slot, types.MemberDescriptorType):
                try:
                    held = slot.__get__(value)
                except AttributeError:  # not set
                    continue
                # What pydantic keeps apart are fields like any other.
                apart = name.startswith("__pydantic_") and type(held) is dict
                fields.update(held if apart else {name: held})
    return fields


def _references(
    code: types.CodeType, known: Mapping[str, Any]
) -> Iterator[tuple[str, Any, Position | None]]:
    """The globals that a function's code names, and what it takes out of modules."""
    value: Any = None
    name, imported, local = "", types.ModuleType(""), dict[str, Any]()
    for step in dis.get_instructions(code):
        match step.opname:
            case "EXTENDED_ARG" | "SWAP" | "POP_TOP":
                continue
            case "LOAD_GLOBAL" | "LOAD_NAME":
                name, value = step.argval, known.get(step.argval)
            case "IMPORT_NAME":
                name = step.argval
                value = imported = sys.modules.get(name) or types.ModuleType(name)
            case "IMPORT_FROM":
                name, value = step.argval, _import_of(imported, step.argval)
            case "LOAD_ATTR" | "LOAD_METHOD" if type(value) is types.ModuleType:
                name, value = f"{name}.{step.argval}", vars(value).get(step.argval)
            case "STORE_FAST":
                local[step.argval], value = _local_of(value, step.argval), None
            case "STORE_FAST_LOAD_FAST":  # two steps in one, from Python 3.13 on
                stored, name = step.argval
                local[stored] = _local_of(value, stored)
                value = local.get(name)
            case load if load.startswith("LOAD_FAST"):
                name = step.argval[-1] if isinstance(step.argval, tuple) else step.argval
                value = local.get(name)
            case _:
                value = None
        if value is not None:
            yield name, value, _position(code, step)
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from _references(inner, known)


def _import_of(module: types.ModuleType, name: str) -> Any:
    """What an import takes out of a module; `import a.b as c` takes the module itself."""
    whole = module.__name__.rpartition(".")[2] == name
    return vars(module).get(name, module if whole else None)


def _local_of(value: Any, name: str) -> Any:
    """What a local name means: `import a.b` binds `a`."""
    is_top = type(value) is types.ModuleType and value.__name__.startswith(f"{name}.")
    return sys.modules.get(name) if is_top else value


def _position(code: types.CodeType, step: dis.Instruction) -> Position:
    at = step.positions
    line = at.lineno if at and at.lineno else code.co_firstlineno
    column = at.col_offset if at and at.col_offset is not None else 0
    return Position(code.co_filename, line, column + 1)


def _parameter(function: types.FunctionType, number: int) -> str:
    code = function.__code__
    names = code.co_varnames[: code.co_argcount]
    return names[len(names) - len(function.__defaults__ or ()) + number]


# ---- whose code it is ----


def _package(value: Any) -> str:
    """The package that a function or an object belongs to; empty for Python and frameworks."""
    if type(value) is types.FunctionType:
        top = _top(value.__globals__.get("__name__"))
    else:
        top = _top(vars(value if _is_class(value) else type(value)).get("__module__"))
    return "" if top in sys.stdlib_module_names or top.startswith(_FRAMEWORKS) else top


def _top(module: Any) -> str:
    return module.partition(".")[0] if isinstance(module, str) else ""


def _is_own(function: types.FunctionType, home: str) -> bool:
    """Whether code belongs to the project, and neither to Python, a package, nor ucop."""
    top = _top(function.__globals__.get("__name__"))
    if top == "ucop":
        return False
    return (bool(home) and top == home) or _is_outside(function.__code__.co_filename)


def _is_own_class(kind: type, home: str) -> bool:
    module = sys.modules.get(vars(kind).get("__module__", "") or "")
    if module is None or module.__name__.startswith("ucop."):
        return False
    if home and module.__name__.partition(".")[0] == home:
        return True
    file = vars(module).get("__file__")
    return _is_outside(file) if isinstance(file, str) else module.__name__ == "__main__"


@functools.lru_cache(maxsize=4096)
def _is_outside(file: str) -> bool:
    """Whether a file is neither Python's nor an installed package's."""
    return not file.startswith(("<frozen", *_installed_folders()))


@functools.cache
def _installed_folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    return tuple(str(Path(paths[name])) for name in ("stdlib", "platstdlib", "purelib", "platlib"))


def _is_of_python(kind: type) -> bool:
    home = vars(kind).get("__module__")
    if kind is types.SimpleNamespace or not isinstance(home, str):
        return False
    return home.partition(".")[0] in sys.stdlib_module_names and home != "__main__"


def _is_langchains_fake(home: str) -> bool:
    top, _, rest = home.partition(".")
    return top.startswith("langchain") and rest.rpartition(".")[2].startswith("fake")


def _is_class(value: Any) -> bool:
    return issubclass(type(value), type)


def _is_named(value: Any) -> bool:
    return _is_class(value) or type(value) is types.FunctionType
