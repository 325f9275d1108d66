"""What differs between the SQL of the two databases, and nothing else does.

Operations are written once. `:name` is a parameter; these stand for each database's own text:

- `{now}` is the database's clock, in seconds since the epoch. No operation takes the time from
  its process: docs/decisions/one-clock.md.
- `{settled}` is the position up to which no event can come any more.
- `{supplied}` is the condition that a worker which supplies `:known` has what a job needs.
- `{labelled}` is the condition that a job has all `:labels`.
- `{apart}` is 1 where values of channels have a table of their own, else 0.
- `{noted}` is the condition that a thread's metadata have all names and values of `:metadata`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

SQLITE_PREFIX = "sqlite:///"

POSTGRES_PREFIXES = ("postgresql://", "postgres://")


@dataclass(frozen=True, kw_only=True)
class Tables:
    """Where LangGraph's saver keeps a thread."""

    writes: str
    value: str
    """The column of a write's value."""
    run_id: str
    """The run that a checkpoint's metadata name."""
    job_id: str
    """The job that they name."""
    base: str
    """Whether they say that a checkpoint is only there for an edit; see graphs/pregel/superstep.py."""
    listed: str
    """The texts in a parameter that is a list of JSON, as `name`."""
    apart: bool
    """Whether values of channels have a table of their own."""


class Dialect:
    """One database's SQL."""

    def __init__(
        self,
        *,
        now: str,
        settled: str,
        supplied: str,
        labelled: str,
        noted: str,
        tables: Tables,
        pyformat: bool,
    ) -> None:
        self.tables = tables
        self._pyformat = pyformat
        self._texts = {
            "{now}": now,
            "{settled}": settled,
            "{supplied}": supplied,
            "{labelled}": labelled,
            "{noted}": noted,
            "{apart}": str(int(tables.apart)),
        }
        # Texts of operations are few; what a filter makes of its conditions, are some more.
        self.text = lru_cache(maxsize=512)(self._text)
        """A statement as this database's driver takes it."""

    def _text(self, sql: str) -> str:
        for name, text in self._texts.items():
            sql = sql.replace(name, text)
        return re.sub(r"(?<!:):([a-z_]+)", r"%(\1)s", sql) if self._pyformat else sql


SQLITE = Dialect(
    now=":now",  # one machine, one clock: who runs a statement gives it; see sqlite.execute
    settled="(select coalesce(max(position), 0) from events)",
    supplied="""(needs = '[]' or not exists (select 1 from json_each(jobs.needs) need
        where need.value not in (select value from json_each(:known))))""",
    labelled="""not exists (select 1 from json_each(:labels) wanted where not exists (
        select 1 from json_each(jobs.labels) own
        where own.key = wanted.key and own.value = wanted.value))""",
    noted="""not exists (select 1 from json_each(:metadata) wanted where not exists (
        select 1 from json_each(metadata) own where own.key = wanted.key
        and own.type = wanted.type and own.value is wanted.value))""",
    tables=Tables(
        writes="writes",
        value="value",
        run_id="json_extract(cast(metadata as text), '$.run_id')",
        job_id="json_extract(cast(metadata as text), '$.ucop_job')",
        base="json_extract(cast(metadata as text), '$.ucop_base')",
        listed="(select value from json_each(:{name}))",
        apart=False,
    ),
    pyformat=False,
)

POSTGRES = Dialect(
    # Not the transaction's time: who waited for a lock must not go by what time it was before.
    now="cast(extract(epoch from clock_timestamp()) as double precision)",
    settled="(pg_snapshot_xmin(pg_current_snapshot())::text::bigint << 16) - 1",
    supplied="(needs = '[]' or cast(needs as jsonb) <@ cast(:known as jsonb))",
    labelled="cast(labels as jsonb) @> cast(:labels as jsonb)",
    noted="""not exists (select 1 from jsonb_each(cast(:metadata as jsonb)) wanted
        where (cast(metadata as jsonb) -> wanted.key) is distinct from wanted.value)""",
    tables=Tables(
        writes="checkpoint_writes",
        value="blob",
        run_id="metadata ->> 'run_id'",
        job_id="metadata ->> 'ucop_job'",
        base="metadata ->> 'ucop_base'",
        listed="(select jsonb_array_elements_text(cast(:{name} as jsonb)))",
        apart=True,
    ),
    pyformat=True,
)


def dialect_of(url: str) -> Dialect:
    """The dialect of the database at `url`, which `absolute_url` has let pass: the one place that
    asks which of the two it is."""
    return SQLITE if url.startswith(SQLITE_PREFIX) else POSTGRES
