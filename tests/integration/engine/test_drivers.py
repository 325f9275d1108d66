"""Who uses SQLite alone loads no driver of PostgreSQL."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from tests.support.graphs import chain
from ucop.engine import Engine

with Engine("sqlite:///ucop.db") as engine:
    engine.add("flow", chain("a", "b"))
    job = engine.submit("flow")
    job.result(60)
    job.fork(job.checkpoints()[-2].id).result(60)
    job.prune()
    job.delete()
print(sorted({name.partition(".")[0] for name in sys.modules} & {"psycopg", "psycopg_pool", "dbos"}))
"""


def test_a_process_that_runs_jobs_on_sqlite_loads_no_psycopg(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[3]), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
