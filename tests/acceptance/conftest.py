"""A project of quick Python agents, and the real `ucop` command in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import Ucop
from tests.support.project import FILES


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Ucop]:
    """`ucop` in an empty folder."""
    ucop = Ucop(tmp_path)
    yield ucop
    ucop.close()


@pytest.fixture
def ucop(bare: Ucop) -> Ucop:
    """`ucop` in a small project."""
    for path, text in FILES.items():
        bare.write(path, text)
    return bare
