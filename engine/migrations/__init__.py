"""The database's schema: the numbered files in `versions/`, run by Alembic.

A migration once released is never edited; the next one is added. `HEAD` spares a process
that finds an up-to-date database the import of Alembic.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection

HEAD = "0006"


def upgrade(connection: Connection) -> None:
    """Bring the database up to HEAD. The caller holds a lock and commits."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)
