"""Threads: whose each one is, and what people note about it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

# The tenant of the job that the thread was made for, or else of the first job on it.
EXISTING = """
insert into threads (id, tenant, metadata, lasting, temporary, created_at, updated_at)
select thread_id,
    (select tenant from jobs first where first.thread_id = jobs.thread_id
        order by case when first.id = first.thread_id then 0 else 1 end, first.created_at, first.id
        limit 1),
    '{}', 0, 0, min(created_at), max(created_at)
from jobs where thread_id <> id group by thread_id"""


def upgrade() -> None:
    op.create_table(
        "threads",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("tenant", sa.Text),
        sa.Column("metadata", sa.Text, nullable=False),
        # What its states belong to where it has no job: none has run yet, or all were deleted.
        sa.Column("workflow", sa.Text),
        sa.Column("fingerprint", sa.Text),
        # Somebody created it: it stays when its jobs are deleted.
        sa.Column("lasting", sa.Integer, nullable=False),
        # Its job's end deletes it.
        sa.Column("temporary", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double),
        sqlite_with_rowid=False,
    )
    which = sa.text("expires_at is not null")
    op.create_index(
        "threads_expiry", "threads", ["expires_at"], sqlite_where=which, postgresql_where=which
    )
    op.execute(EXISTING)
