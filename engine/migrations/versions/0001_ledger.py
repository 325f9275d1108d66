"""The ledger: definitions, jobs, attempts, steps, events, questions, workers; kept answers.

Amounts of time are seconds, points in time are seconds since the epoch; JSON is text, so
that SQLite and PostgreSQL hold the same.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

Time = sa.Double
Text = sa.Text

FENCE = """
create or replace function ucop_fence(job text, n integer) returns void
language plpgsql as $$
begin
    perform 1 from ucop.jobs where id = job and attempt = n and status = 'running'
        for no key update;
    if not found then
        raise exception 'attempt % of job % is no longer current', n, job
            using errcode = 'UC001';
    end if;
end $$"""


def upgrade() -> None:
    op.create_table(
        "definitions",
        sa.Column("fingerprint", Text, primary_key=True),
        sa.Column("workflow", Text, nullable=False),
        sa.Column("body", Text, nullable=False),
        sa.Column("created_at", Time, nullable=False),
    )
    op.create_table(
        "jobs",
        sa.Column("id", Text, primary_key=True),
        sa.Column("workflow", Text, nullable=False),
        sa.Column("fingerprint", Text, sa.ForeignKey("definitions.fingerprint"), nullable=False),
        sa.Column("needs", Text, nullable=False),
        sa.Column("status", Text, nullable=False),
        sa.Column("reason", Text),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("worker", Text),
        sa.Column("want", Text),
        sa.Column("input", Text, nullable=False),
        sa.Column("output", Text),
        sa.Column("error", Text),
        sa.Column("thread_id", Text, nullable=False),
        sa.Column("checkpoint_id", Text),
        sa.Column("key", Text, unique=True),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("tenant", Text),
        sa.Column("labels", Text, nullable=False),
        sa.Column("budget", Text, nullable=False),
        sa.Column("parent_job_id", Text),
        sa.Column("parent_checkpoint_id", Text),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("progress", sa.Integer, nullable=False),
        sa.Column("stalls", sa.Integer, nullable=False),
        sa.Column("not_before", Time, nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("queued_at", Time, nullable=False),
        sa.Column("started_at", Time),
        sa.Column("finished_at", Time),
    )
    pending = sa.text("status = 'pending'")
    running = sa.text("status = 'running'")
    op.create_index(
        "jobs_due",
        "jobs",
        [sa.text("priority desc"), "queued_at", "created_at"],
        sqlite_where=pending,
        postgresql_where=pending,
    )
    op.create_index(
        "jobs_one_per_thread",
        "jobs",
        ["thread_id"],
        unique=True,
        sqlite_where=running,
        postgresql_where=running,
    )
    op.create_index(
        "jobs_running",
        "jobs",
        ["worker"],
        sqlite_where=running,
        postgresql_where=running,
    )
    op.create_index("jobs_newest", "jobs", ["created_at"])
    op.create_table(
        "attempts",
        sa.Column("job_id", Text, sa.ForeignKey("jobs.id"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("status", Text, nullable=False),
        sa.Column("worker", Text),
        sa.Column("outcome", Text),
        sa.Column("progress", sa.Integer, nullable=False),
        sa.Column("queued_at", Time, nullable=False),
        sa.Column("started_at", Time),
        sa.Column("finished_at", Time),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "steps",
        sa.Column("job_id", Text, sa.ForeignKey("jobs.id"), primary_key=True),
        sa.Column("task_id", Text, primary_key=True),
        sa.Column("attempt", sa.Integer, primary_key=True),
        sa.Column("node", Text, nullable=False),
        sa.Column("status", Text, nullable=False),
        sa.Column("started_at", Time),
        sa.Column("finished_at", Time),
        sa.Column("input", Text),
        sa.Column("output", Text),
        sa.Column("error", Text),
        sa.Column("model_calls", sa.Integer, nullable=False),
        sa.Column("tokens_in", sa.Integer, nullable=False),
        sa.Column("tokens_out", sa.Integer, nullable=False),
        sa.Column("cost", Time),
        sa.Column("models", Text, nullable=False),
        sa.Column("cached", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "events",
        sa.Column("job_id", Text, sa.ForeignKey("jobs.id"), primary_key=True),
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("type", Text, nullable=False),
        sa.Column("at", Time, nullable=False),
        sa.Column("data", Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "questions",
        sa.Column("job_id", Text, sa.ForeignKey("jobs.id"), primary_key=True),
        sa.Column("id", Text, primary_key=True),
        sa.Column("node", Text, nullable=False),
        sa.Column("question", Text, nullable=False),
        sa.Column("answer_schema", Text),
        sa.Column("asked_at", Time, nullable=False),
        sa.Column("answer", Text),
        sa.Column("answered_at", Time),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "node_cache",
        sa.Column("key", Text, primary_key=True),
        sa.Column("answer", Text, nullable=False),
        sa.Column("expires_at", Time, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("node_cache_expiry", "node_cache", ["expires_at"])
    op.create_table(
        "mesh_agents",
        sa.Column("agent", Text, primary_key=True),
        sa.Column("calls", sa.Integer, nullable=False),
        sa.Column("failed", sa.Integer, nullable=False),
        sa.Column("in_a_row", sa.Integer, nullable=False),
        sa.Column("seconds", Time, nullable=False),
        sa.Column("slowest", Time, nullable=False),
        sa.Column("called_at", Time),
        sa.Column("failed_at", Time),
        sa.Column("trial_at", Time),
        sa.Column("error", Text),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "mesh_calls",
        sa.Column("key", Text, primary_key=True),
        sa.Column("job_id", Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("agent", Text, nullable=False),
        sa.Column("began_at", Time, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "workers",
        sa.Column("id", Text, primary_key=True),
        sa.Column("host", Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("started_at", Time, nullable=False),
        sa.Column("beat_at", Time, nullable=False),
        sa.Column("lost", sa.Integer, nullable=False),
        sa.Column("knows", Text, nullable=False),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(FENCE)
