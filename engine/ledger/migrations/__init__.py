"""The database's schema: the numbered files in `versions/`, run by Alembic.

A migration once released is never edited; the next one is added. `HEAD` spares a process
that finds an up-to-date database the import of Alembic.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection

HEAD = "0008"

_alone = threading.Lock()
"""Alembic keeps the migration that runs in globals of its modules (`alembic.context`,
`alembic.op`): two engines that are opened at the same moment would take each other's connection."""


def upgrade(connection: Connection) -> None:
    """Bring the database up to HEAD. The caller holds a lock and commits."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    with _alone:
        command.upgrade(config, HEAD)
