"""Shares count the slots that a tenant's jobs held, and no longer how many began."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute("delete from tenants")  # counts of jobs that began, of the last minutes
    op.execute("alter table tenants rename column starts to held")
