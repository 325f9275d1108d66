"""OpenMP's runtime, where the system has none.

xllamacpp's wheel expects the system's `libgomp.so.1`, which a bare Debian and most slim
container images do not have. The extra `local` brings a copy inside the wheel of treelite,
which is used for nothing else and never imported.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from pathlib import Path

LIBRARY = "libgomp.so.1"


def provide() -> None:
    """Let this process have the library, so that importing xllamacpp finds it.

    Without the extra nothing happens, and the import tells what is missing.
    """
    if sys.platform != "linux" or _system_has_it():
        return
    bundled = find_bundled()
    if bundled is not None:
        load(bundled)


def find_bundled() -> Path | None:
    """The copy in treelite's wheel."""
    spec = importlib.util.find_spec("treelite")
    places = spec.submodule_search_locations if spec else None
    if not places:
        return None
    return next(Path(places[0] + ".libs").glob("libgomp-*.so*"), None)


def load(file: Path) -> None:
    """Load a copy of the library under its usual name.

    The linker takes a loaded library for the one that is wanted by the name written inside,
    and auditwheel wrote another one (the file's own) there: so a copy in memory gets it back.
    """
    if sys.platform != "linux":
        return
    name = file.name.encode()
    library = file.read_bytes().replace(name, LIBRARY.encode().ljust(len(name), b"\0"))
    with os.fdopen(os.memfd_create(LIBRARY), "wb") as memory:
        memory.write(library)
        memory.flush()
        ctypes.CDLL(f"/proc/self/fd/{memory.fileno()}", ctypes.RTLD_GLOBAL)


def _system_has_it() -> bool:
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return False
    return True
