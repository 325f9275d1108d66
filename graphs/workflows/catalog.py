"""The workflows that can be named: bundled ones, a project's own, and those of other packages.

Listing names reads YAML files and imports nothing of the project; a Python graph is imported
when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ucop.agents.errors import InvalidDefinition, UcopError
from ucop.agents.finding import Finding
from ucop.agents.spec.module import files_of, load_entry_point, load_module
from ucop.agents.text.nearest import did_you_mean

from ..errors import UnknownWorkflow

if TYPE_CHECKING:
    from ucop.agents.spec.registry import Registry

    from ..workflow import Workflow

ENTRY_POINTS = "ucop.workflows"
LIBRARY = Path(__file__).parents[1] / "library"
UNTOLD = ("graph", "workflow", "app", "make_graph")
"""Attributes that say nothing of the graph: it is named after its module instead."""

Kind = Literal["yaml", "python"]
Stamp = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A workflow that can be named, without having been loaded."""

    name: str
    kind: Kind
    origin: str
    """Its file, or `module:attribute`."""
    description: str = ""


@dataclass(frozen=True)
class _Entry:
    listing: Listing
    load: Callable[[], Workflow]


@dataclass(frozen=True)
class _File:
    """A YAML file as it was when it was read last."""

    stamp: Stamp
    name: str
    description: str


class Catalog:
    """The workflows of a project. Files are read again when they change."""

    def __init__(
        self,
        root: Path | None,
        patterns: Sequence[str] = (),
        registry: Registry | None = None,
        bundled: bool = True,
    ) -> None:
        """`patterns`, relative to `root`: YAML files (`workflows/*.yaml`), and Python graphs as
        `file.py:attribute` or `module:attribute`, with another name as `name=file.py:attribute`.
        """
        self._root = root or Path.cwd()
        self._patterns = tuple(patterns)
        self._given_registry = registry
        self._bundled = bundled
        self._files: dict[Path, _File] = {}
        self._loaded: dict[Path, tuple[Stamp, Workflow]] = {}
        self._python: dict[str, Workflow] = {}
        self._added: dict[str, _Entry] = {}

    def names(self) -> list[Listing]:
        """Every workflow, by name."""
        found = [entry.listing for entries in self._index().values() for entry in entries]
        return sorted(found, key=lambda listing: listing.name)

    def get(self, workflow: str | Path) -> Workflow:
        """The workflow of that name, or of that file (`flow.yaml`, `flow.py:graph`).

        For callers who may open files and import code; others use `find`. Raises
        UnknownWorkflow, which names the nearest, and InvalidDefinition with every mistake.
        """
        text = str(workflow)
        if text.endswith((".yaml", ".yml")):
            return self._open_yaml(Path(text))
        if ".py:" in text:
            return self._open_python(text, Path.cwd())
        return self.find(text)

    def find(self, name: str) -> Workflow:
        """The workflow of that name, and never a file. Raises as `get`."""
        if name in self._added:
            return self._added[name].load()
        project = (entry for entry in self._project() if entry.listing.name == name)
        entries = list(project) or list(self._library(name))
        if not entries:
            raise UnknownWorkflow(self._unknown_message(name))
        if len(entries) > 1:
            raise InvalidDefinition([_clash(name, entries)])
        return entries[0].load()

    def add(self, name: str, graph: Any, *, description: str = "") -> Workflow:
        """Name a StateGraph, a compiled graph, or a factory of one. It wins over other names, and
        takes the place of another that was added under this one."""
        from .python_workflow import PythonWorkflow

        known = self._added.get(name)
        if known is not None and getattr(before := known.load(), "source", None) is graph:
            return before
        workflow = PythonWorkflow(name, graph, description=description)
        self.take(workflow)
        return workflow

    def take(self, workflow: Workflow) -> None:
        """`add`, for a workflow of Python that was made already."""
        listing = Listing(
            name=workflow.name,
            kind="python",
            origin=workflow.origin,
            description=workflow.description,
        )
        self._added[workflow.name] = _Entry(listing, lambda: workflow)

    def lists(self, name: str) -> bool:
        """Whether the project, or a package, has a Python graph of this name: then other
        processes of the project know it, too."""
        return any(e.listing.name == name and e.listing.kind == "python" for e in self._project())

    def supplies(self) -> list[str]:
        """What workflows may need that only this process has (`Workflow.needs`)."""
        graphs = {listing.name for listing in self.names() if listing.kind == "python"}
        registry = self._registry()
        agents = {a.name for a in registry.own.values() if a.spec is None and not a.bundled}
        return [
            *(f"graph:{name}" for name in sorted(graphs)),
            *(f"agent:{n}" for n in sorted(agents)),
            *(f"merge:{name}" for name in sorted(registry.merges)),
            *(f"tool:{name}" for name in sorted(registry.tools)),
            *(f"mcp:{name}" for name in sorted(registry.servers)),
        ]

    # ---- finding ----

    def _index(self) -> dict[str, list[_Entry]]:
        """Entries by name: what was added first, then the project's, then the bundled."""
        project: dict[str, list[_Entry]] = {}
        for entry in self._project():
            project.setdefault(entry.listing.name, []).append(entry)
        bundled = {entry.listing.name: [entry] for entry in self._library()}
        return {**bundled, **project, **{name: [entry] for name, entry in self._added.items()}}

    def _project(self) -> Iterator[_Entry]:
        for pattern in self._patterns:
            if pattern.endswith((".yaml", ".yml")):
                for path in files_of(pattern, self._root):
                    yield self._yaml_entry(path, _shown_path(path, self._root))
            else:
                yield self._python_entry(pattern)
        for entry_point in _entry_points():
            listing = Listing(name=entry_point.name, kind="python", origin=entry_point.value)
            yield _Entry(listing, partial(self._load_entry_point, entry_point))

    def _library(self, name: str | None = None) -> Iterator[_Entry]:
        """The bundled workflows, or the one of that name: each has its file's name."""
        for path in sorted(LIBRARY.glob("*.yaml")) if self._bundled else ():
            if name in (None, path.stem):
                yield self._yaml_entry(path, f"library/{path.name}")

    def _yaml_entry(self, path: Path, shown: str) -> _Entry:
        file = self._read(path)
        listing = Listing(name=file.name, kind="yaml", origin=shown, description=file.description)
        return _Entry(listing, partial(self._load_yaml, path, shown))

    def _python_entry(self, pattern: str) -> _Entry:
        name, reference = split_pattern(pattern)
        listing = Listing(name=name, kind="python", origin=reference)
        return _Entry(listing, partial(self._load_python, name, reference, self._root))

    def _read(self, path: Path) -> _File:
        """Name and description of a YAML file; a broken one is named after its file."""
        stamp = _stamp(path)
        known = self._files.get(path)
        if known is None or known.stamp != stamp:
            known = _File(stamp, *_heading(path))
            self._files[path] = known
        return known

    # ---- loading ----

    def _load_yaml(self, path: Path, shown: str) -> Workflow:
        from ucop.agents.text.source import read_yaml_file

        from .yaml_file import workflow_of

        stamp = _stamp(path)
        loaded = self._loaded.get(path)
        if loaded is None or loaded[0] != stamp or not self._runs_the_same(loaded[1]):
            document = read_yaml_file(path, shown_as=shown)
            with _entering(path):
                workflow = workflow_of(document, self._registry(), self.find)
            loaded = (stamp, workflow)
            self._loaded[path] = loaded
        return loaded[1]

    def _runs_the_same(self, workflow: Workflow) -> bool:
        """Whether the workflows inside are still those of their files."""
        inner = getattr(workflow, "workflows", {})
        try:
            return all(self.find(name) is known for name, known in inner.items())
        except UcopError:
            return False

    def _open_yaml(self, path: Path) -> Workflow:
        found = path if path.is_absolute() or path.is_file() else self._root / path
        if not found.is_file():
            raise UnknownWorkflow(f"there is no file {path}")
        return self._load_yaml(found.resolve(), str(path))

    def _open_python(self, reference: str, folder: Path) -> Workflow:
        file, _, _ = reference.partition(":")
        there = folder if (folder / file).is_file() else self._root
        name, reference = split_pattern(reference)
        return self._load_python(name, reference, there)

    def _load_python(self, name: str, reference: str, root: Path) -> Workflow:
        module_name, _, attribute = reference.rpartition(":")
        key = f"{root}:{name}={reference}"
        if key not in self._python:
            module = load_module(module_name, root)
            self._python[key] = self._workflow_at(module, attribute, name, reference)
        return self._python[key]

    def _load_entry_point(self, entry_point: EntryPoint) -> Workflow:
        key = f"entry point {entry_point.name}"
        if key not in self._python:
            self._python[key] = self._workflow_at(
                load_entry_point(entry_point), "", entry_point.name, entry_point.value
            )
        return self._python[key]

    def _workflow_at(self, holder: Any, attribute: str, name: str, origin: str) -> Workflow:
        from .python_workflow import PythonWorkflow

        source = holder
        for step in attribute.split(".") if attribute else ():
            if not hasattr(source, step):
                raise InvalidDefinition([_no_attribute(origin, step, dir(source))])
            source = getattr(source, step)
        return PythonWorkflow(name, source, origin=origin)

    def _registry(self) -> Registry:
        if self._given_registry is None:
            from ucop.agents.spec.registry import load_registry

            self._given_registry = load_registry(self._root)
        return self._given_registry

    def _unknown_message(self, name: str) -> str:
        meant = did_you_mean(name, self._index()) or "`ucop workflows list` shows all."
        return f"there is no workflow named {name!r}; {meant}"


_ENTERED: ContextVar[tuple[Path, ...]] = ContextVar("entered", default=())
"""The workflow files that are being read, from the outermost to the one inside."""


@contextmanager
def _entering(path: Path) -> Iterator[None]:
    """Reading `path` and the workflows inside it. Raises InvalidDefinition for a cycle."""
    path = path.resolve()
    before = _ENTERED.get()
    if path in before:
        names = " -> ".join(each.stem for each in (*before[before.index(path) :], path))
        raise InvalidDefinition([Finding.error("workflow-cycle", f"it runs itself: {names}")])
    token = _ENTERED.set((*before, path))
    try:
        yield
    finally:
        _ENTERED.reset(token)


def split_pattern(pattern: str) -> tuple[str, str]:
    """The name and the reference of a Python graph's pattern."""
    given, equals, reference = pattern.rpartition("=")
    module, colon, attribute = reference.rpartition(":")
    if not colon or not module or not attribute:
        raise InvalidDefinition([_bad_pattern(pattern)])
    if equals:
        return given.strip(), reference.strip()
    stem = module.removesuffix(".py").replace("\\", "/").rsplit("/", 1)[-1].rsplit(".", 1)[-1]
    return (stem if attribute in UNTOLD else attribute), reference


@cache
def _entry_points() -> tuple[EntryPoint, ...]:
    """Those of installed packages; looking for them reads every package's metadata."""
    return tuple(entry_points(group=ENTRY_POINTS))


def _heading(path: Path) -> tuple[str, str]:
    from ucop.agents.text.source import read_yaml_file

    try:
        data = read_yaml_file(path).data
    except InvalidDefinition:
        return path.stem, "(cannot be read; `ucop workflows check` tells why)"
    fields = data if isinstance(data, dict) else {}
    name, description = fields.get("name"), fields.get("description")
    return (
        name if isinstance(name, str) and name else path.stem,
        description if isinstance(description, str) else "",
    )


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size)


def _shown_path(path: Path, root: Path) -> str:
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def _clash(name: str, entries: Sequence[_Entry]) -> Finding:
    origins = " and ".join(entry.listing.origin for entry in entries)
    return Finding.error("name-clash", f"several workflows are named {name!r}: in {origins}")


def _no_attribute(origin: str, attribute: str, names: Sequence[str]) -> Finding:
    hint = did_you_mean(attribute, names) or None
    return Finding.error("no-attribute", f"{origin}: there is no {attribute!r}", hint=hint)


def _bad_pattern(pattern: str) -> Finding:
    hint = "write a YAML file, file.py:attribute or module:attribute"
    return Finding.error("bad-pattern", f"{pattern!r} names no workflow", hint=hint)
