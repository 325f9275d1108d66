"""What a run is given beside its input, and which answers its nodes have taken."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    # JSON: the context, the config, and whatever else a submission says of how to run.
    op.add_column("jobs", sa.Column("run", sa.Text, nullable=False, server_default="{}"))
    # Newest saved state, of any namespace, behind which a person let the job go on: it passes
    # breakpoints there, and stops at those that come later.
    op.add_column("jobs", sa.Column("passed", sa.Text))
    op.add_column("questions", sa.Column("consumed_at", sa.Double))
    op.add_column("questions", sa.Column("withdrawn_at", sa.Double))
    # Nobody noted what was consumed. An attempt that began after the answer may have taken it;
    # if it has not, the question is asked again, which is better than an answer used twice.
    op.execute(
        """
update questions set consumed_at = answered_at
where answered_at is not null and exists (
    select 1 from attempts where attempts.job_id = questions.job_id
        and attempts.started_at >= questions.answered_at)"""
    )
    op.execute(
        """
update jobs set passed = (
    select max(checkpoint_id) from checkpoints where checkpoints.thread_id = jobs.thread_id)
where checkpoint_id is not null and status in ('pending', 'running')"""
    )
