"""What graphs emit while somebody listens: batches of stream parts, kept for a while; and what
blocks a worker's loop."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    on_postgres = op.get_bind().dialect.name == "postgresql"
    # Unlogged: what a crash of the server loses is emitted again by the attempt that follows.
    prefixes = ["unlogged"] if on_postgres else []
    op.create_table(
        "live",
        sa.Column("id", sa.BigInteger if on_postgres else sa.Integer, primary_key=True),
        sa.Column("job_id", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("n", sa.Integer, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
        prefixes=prefixes,
    )
    op.create_index("live_of_job", "live", ["job_id", "attempt", "n"], unique=True)
    op.create_index("live_age", "live", ["at"])
    op.create_table(
        "live_listeners",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("job_id", sa.Text, nullable=False),
        sa.Column("modes", sa.Text, nullable=False),
        sa.Column("until", sa.Double, nullable=False),
        prefixes=prefixes,
    )
    op.create_index("live_listeners_of_job", "live_listeners", ["job_id"])
    # JSON: the node and the job that block it now.
    op.add_column("workers", sa.Column("blocked", sa.Text))
