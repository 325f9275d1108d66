"""When a schedule ends."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("schedules", sa.Column("ends_at", sa.Double))
