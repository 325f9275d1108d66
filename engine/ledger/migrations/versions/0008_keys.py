"""Keys of the HTTP API, and what was changed with them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    on_postgres = op.get_bind().dialect.name == "postgresql"
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        # SHA-256 of the secret, which is 256 random bits and needs no slow hash.
        sa.Column("hash", sa.Text, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("tenant", sa.Text),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double),
        sa.Column("last_used_at", sa.Double),
    )
    op.create_table(
        "api_changes",
        sa.Column("id", sa.BigInteger if on_postgres else sa.Integer, primary_key=True),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("key", sa.Text),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("request", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("api_changes_age", "api_changes", ["at"])
