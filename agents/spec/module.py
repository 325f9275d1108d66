"""The project's own Python: importing a module by name or by file.

Only what a project's settings, an entry point or the caller's own Python names comes here;
nothing that stands in a workflow file does.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import InvalidDefinition
from ..finding import Finding, Position


def load_module(reference: str, root: Path) -> ModuleType:
    """Import `package.module`, or the file `folder/module.py` (relative to `root`).

    The project's folder is put on the import path, so that its modules find each other.
    Raises InvalidDefinition for a module that does not exist or fails, with the line of it.
    """
    _put_on_path(root)
    if reference.endswith(".py"):
        return _load_file((root / reference).resolve(), root.resolve())
    return _import(reference)


def load_entry_point(entry_point: EntryPoint) -> Any:
    """What an entry point of an installed package names. Raises InvalidDefinition."""
    try:
        return entry_point.load()
    except (InvalidDefinition, KeyboardInterrupt):
        raise
    except BaseException as error:  # one that ends the process would take the command with it
        message = f"entry point {entry_point.name!r}: {type(error).__name__}: {error}"
        raise InvalidDefinition([_finding(message, _place_of_failure(error))]) from error


def files_of(pattern: str, root: Path) -> list[Path]:
    """The files of a pattern; one without a wildcard is there, or is reported when it is read."""
    if not any(character in pattern for character in "*?["):
        return [root / pattern]
    anchor = Path(pattern).anchor
    return sorted(Path(anchor or root).glob(pattern.removeprefix(anchor)))


def _put_on_path(root: Path) -> None:
    folder = str(root.resolve())
    if folder not in sys.path:
        sys.path.insert(0, folder)


def _load_file(path: Path, root: Path) -> ModuleType:
    if not path.is_file():
        raise InvalidDefinition([_finding(f"{path.name}: there is no such file", None)])
    name = _module_name(path, root)
    if name is not None and _is_at(name, path):
        return _import(name)
    # Another module has this name already: load the file under a name of its own.
    return _load_as(f"_ucop_project_{path.stem}", path)


def _module_name(path: Path, root: Path) -> str | None:
    """The name under which the project's own code would import the file."""
    if not path.is_relative_to(root):
        return None
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts) if all(part.isidentifier() for part in parts) else None


def _is_at(name: str, path: Path) -> bool:
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return False
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the package around it is imported on the way
        raise _import_error(name, error) from error
    return found is not None and found.origin is not None and Path(found.origin).resolve() == path


def _load_as(name: str, path: Path) -> ModuleType:
    known = sys.modules.get(name)
    if known is not None and known.__file__ == str(path):
        return known
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InvalidDefinition([_finding(f"{path.name} is not a Python module", None)])
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # one that ends the process would take the command with it
        del sys.modules[name]
        raise _import_error(str(path), error) from error
    return module


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            message = f"there is no module {name!r} in the project or the environment"
            raise InvalidDefinition([_finding(message, None)]) from error
        raise _import_error(name, error) from error
    except InvalidDefinition:
        raise
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # one that ends the process would take the command with it
        raise _import_error(name, error) from error


def _import_error(what: str, error: BaseException) -> InvalidDefinition:
    if isinstance(error, InvalidDefinition):
        return error
    message = f"importing {Path(what).name} failed: {type(error).__name__}: {error}"
    return InvalidDefinition([_finding(message, _place_of_failure(error))])


def _place_of_failure(error: BaseException) -> Position | None:
    """Where the module's own code failed: the last line that is not Python's machinery."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return Position(error.filename, error.lineno, error.offset or 1)
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not f.filename.startswith("<") and f.filename != __file__]
    own = [f for f in own if f.filename != importlib.__file__]
    if not own or own[-1].lineno is None:
        return None
    return Position(own[-1].filename, own[-1].lineno, 1)


def _finding(message: str, position: Position | None) -> Finding:
    return Finding.error("import", message, position)
