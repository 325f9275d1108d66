"""The ledger: definitions, jobs, attempts, steps, events, questions, workers; kept answers;
what people changed of queues, and what their limits and shares are counted by; schedules;
what hears of events, and what it is still to be told; turns of requests to models.

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

POSITION = """
create or replace function ucop_event_position() returns trigger
language plpgsql as $$
declare
    spread bigint := nextval('ucop.event_spread') & 65535;
    before bigint;
begin
    new.position := pg_current_xact_id()::text::bigint << 16 | spread;
    -- Who waited for the job's row may have a lower number than who had it.
    select position into before from ucop.events
        where job_id = new.job_id and seq = new.seq - 1;
    if before >= new.position then
        new.position := (before >> 16) + 1 << 16 | spread;
    end if;
    return new;
end $$;
create trigger event_position before insert on ucop.events
    for each row execute function ucop_event_position()"""
"""See subscriptions.py: where an event stands among those of all jobs."""


PENDING = "status = 'pending'"
RUNNING = "status = 'running'"


def _index(
    name: str, columns: list[str], where: str, *, table: str = "jobs", unique: bool = False
) -> None:
    """An index of some rows alone."""
    which = sa.text(where)
    op.create_index(
        name,
        table,
        [sa.text(column) for column in columns],
        unique=unique,
        sqlite_where=which,
        postgresql_where=which,
    )


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
        # What decides on turns stands before what may be long: SQLite reads rows from the left.
        sa.Column("thread_id", Text, nullable=False),
        sa.Column("queue", Text, nullable=False),
        sa.Column("tenant", Text),
        sa.Column("lane", Text, sa.Computed("queue || coalesce('/' || tenant, '')", True)),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("queued_at", Time, nullable=False),
        sa.Column("not_before", Time, nullable=False),
        sa.Column("expires_at", Time),
        sa.Column("input", Text, nullable=False),
        sa.Column("output", Text),
        sa.Column("error", Text),
        sa.Column("checkpoint_id", Text),
        sa.Column("key", Text, unique=True),
        sa.Column("labels", Text, nullable=False),
        sa.Column("budget", Text, nullable=False),
        sa.Column("parent_job_id", Text),
        sa.Column("parent_checkpoint_id", Text),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("progress", sa.Integer, nullable=False),
        sa.Column("stalls", sa.Integer, nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("started_at", Time),
        sa.Column("finished_at", Time),
        sa.Column("archived_at", Time),
        sa.Column("pruned_at", Time),
    )
    _index(
        "jobs_due", ["lane", "priority desc", "queued_at", "id"], f"{PENDING} and not_before = 0"
    )
    _index("jobs_delayed", ["not_before"], f"{PENDING} and not_before > 0")
    _index("jobs_thread", ["thread_id", "queued_at", "id"], PENDING)
    _index("jobs_one_per_thread", ["thread_id"], RUNNING, unique=True)
    _index("jobs_running", ["worker", "queue", "tenant", "workflow"], RUNNING)
    _index(
        "jobs_deadline",
        ["expires_at"],
        "expires_at is not null and status in ('pending', 'paused', 'waiting')",
    )
    _index("jobs_sharing", ["thread_id"], "thread_id <> id")
    _index("jobs_parent", ["parent_job_id"], "parent_job_id is not null")
    op.create_index("jobs_newest", "jobs", ["created_at"])
    ended = sa.text("finished_at is not null")
    op.create_index(
        "jobs_ended", "jobs", ["finished_at"], sqlite_where=ended, postgresql_where=ended
    )
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
        sa.Column("tokens_cached", sa.Integer, nullable=False),
        sa.Column("tokens_reasoning", sa.Integer, nullable=False),
        sa.Column("seconds_waited", Time, nullable=False),
        sa.Column("seconds_generating", Time, nullable=False),
        sa.Column("cached_calls", sa.Integer, nullable=False),
        sa.Column("cost", Time),
        sa.Column("models", Text, nullable=False),
        sa.Column("cached", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    on_postgres = op.get_bind().dialect.name == "postgresql"
    # Where an event stands among those of all jobs. One writer at a time on SQLite: it counts.
    position = (
        sa.Column("position", sa.BigInteger, nullable=False)
        if on_postgres
        else sa.Column("position", sa.Integer, primary_key=True, autoincrement=True)
    )
    op.create_table(
        "events",
        position,
        sa.Column("job_id", Text, sa.ForeignKey("jobs.id"), nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("type", Text, nullable=False),
        sa.Column("at", Time, nullable=False),
        sa.Column("data", Text, nullable=False),
        sa.PrimaryKeyConstraint("job_id", "seq")
        if on_postgres
        else sa.UniqueConstraint("job_id", "seq"),
        sqlite_autoincrement=True,
    )
    if on_postgres:
        op.create_index("events_position", "events", ["position"])
    op.create_table(
        "questions",
        sa.Column("job_id", Text, sa.ForeignKey("jobs.id"), primary_key=True),
        sa.Column("id", Text, primary_key=True),
        sa.Column("node", Text, nullable=False),
        sa.Column("question", Text, nullable=False),
        sa.Column("answer_schema", Text),
        sa.Column("asked_at", Time, nullable=False),
        sa.Column("due_at", Time),
        sa.Column("default_answer", Text),
        sa.Column("answer", Text),
        sa.Column("answered_at", Time),
        sa.Column("by_default", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    due = sa.text("answered_at is null and due_at is not null")
    op.create_index(
        "questions_due", "questions", ["due_at"], sqlite_where=due, postgresql_where=due
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
        "model_rates",
        sa.Column("provider", Text, primary_key=True),
        sa.Column("at", Time, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "model_turns",
        sa.Column("id", Text, primary_key=True),
        sa.Column("provider", Text, nullable=False),
        sa.Column("at", Time, nullable=False),
        sa.Column("tokens", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("model_turns_of_provider", "model_turns", ["provider", "at"])
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
        sa.Column("serves", Text, nullable=False),
    )
    op.create_table(
        "queues",
        sa.Column("name", Text, primary_key=True),
        sa.Column("changes", Text, nullable=False),
        sa.Column("changed_at", Time, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "queue_starts",
        sa.Column("queue", Text, primary_key=True),
        sa.Column("at", Time, primary_key=True),
        sa.Column("job_id", Text, primary_key=True),
        sa.Column("attempt", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tenants",
        sa.Column("tenant", Text, primary_key=True),
        sa.Column("starts", Time, nullable=False),
        sa.Column("as_of", Time, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "schedules",
        sa.Column("name", Text, primary_key=True),
        sa.Column("workflow", Text, nullable=False),
        sa.Column("rule", Text, nullable=False),
        sa.Column("timezone", Text, nullable=False),
        sa.Column("anchor", Time, nullable=False),
        sa.Column("input", Text, nullable=False),
        sa.Column("terms", Text, nullable=False),
        sa.Column("catch_up", Text, nullable=False),
        sa.Column("catch_up_limit", sa.Integer, nullable=False),
        sa.Column("overlap", Text, nullable=False),
        sa.Column("paused", sa.Integer, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("next_at", Time),
        sa.Column("last_at", Time),
        sa.Column("last_job_id", Text),
        sa.Column("skipped", Text),
        sa.Column("skipped_at", Time),
        sa.Column("error", Text),
        sa.Column("error_at", Time),
        sa.Column("created_at", Time, nullable=False),
    )
    op.create_index("schedules_due", "schedules", ["next_at"])
    op.create_table(
        "listeners",
        sa.Column("name", Text, primary_key=True),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("worker", Text),
        sa.Column("held_until", Time, nullable=False),
    )
    op.create_table(
        "deliveries",
        sa.Column("webhook", Text, primary_key=True),
        sa.Column("id", Text, primary_key=True),
        sa.Column("job_id", Text, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("type", Text, nullable=False),
        sa.Column("body", Text, nullable=False),
        sa.Column("status", Text, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("error", Text),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("next_at", Time, nullable=False),
        sa.Column("ended_at", Time),
    )
    _index("deliveries_pending", ["webhook", "next_at"], PENDING, table="deliveries")
    _index("deliveries_in_order", ["webhook", "job_id", "seq"], PENDING, table="deliveries")
    op.create_index("deliveries_of_job", "deliveries", ["job_id"])
    if on_postgres:
        op.execute(FENCE)
        op.execute("create sequence ucop.event_spread")
        op.execute(POSITION)
