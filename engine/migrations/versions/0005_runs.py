"""What a run is given beside its input, and which answers its nodes have taken."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    # JSON: the context, the config, and whatever else a submission says of how to run.
    op.add_column("jobs", sa.Column("run", sa.Text, nullable=False, server_default="{}"))
    op.add_column("questions", sa.Column("consumed_at", sa.Double))
