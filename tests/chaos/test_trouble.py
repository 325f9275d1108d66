"""The disk is full, the folder cannot be written, the file is damaged: the error says what to
do, what was accepted is kept, and the job goes on when the cause is gone."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.chaos import roles
from tests.chaos.audit import Auditor, judge
from tests.chaos.fleet import Fleet, Forge
from tests.chaos.mazes import start_of
from tests.support.waiting import until
from ucop.engine import DatabaseError, Engine, JobStatus
from ucop.engine.errors import DatabaseDamaged
from ucop.engine.reading.reader import open_reader

NOBODY = 65534


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 3 MiB."""
    folder = Path(tempfile.mkdtemp(prefix="ucop-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        folder.rmdir()
        pytest.skip("mounting a file system needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
    folder.rmdir()


def test_a_disk_that_becomes_read_only(small_disk: Path) -> None:
    url = f"sqlite:///{small_disk}/jobs.db"
    with roles.open_engine(small_disk, url, worker=False) as engine:
        job = engine.submit("maze", start_of("maze", "k")).id
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(DatabaseError, match="the disk is read-only; mount it writable"):
        _use(small_disk, url, job)
    with pytest.raises(DatabaseError, match="Read-only file system"):
        Engine(f"sqlite:///{small_disk}/new/jobs.db", worker=False)
    with open_reader(url) as reader:  # as a backup is read
        assert reader.job(job).status == "pending"


def _submit_many(engine: Engine) -> None:
    for number in range(1000):
        engine.submit("maze", start_of("maze", f"more{number}"))


def _use(folder: Path, url: str, job: str) -> None:
    with roles.open_engine(folder, url, worker=False) as engine:
        engine.job(job).get()
        engine.submit("twig", start_of("twig", "k"))


def fill(folder: Path) -> Path:
    """Write a file until nothing more fits."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65536, 512, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return filler


def test_a_full_disk_stops_jobs_and_loses_none(
    small_disk: Path, tmp_path: Path, forge: Forge
) -> None:
    url = f"sqlite:///{small_disk / 'ucop.db'}"
    with Fleet(tmp_path, url, nap=0.05, forge=forge, sweep=0.1) as fleet:
        with roles.open_engine(tmp_path, url, worker=False) as engine, Auditor(url) as auditor:
            job = engine.submit("maze", start_of("maze", "j"))
            worker = fleet.worker()
            until(lambda: any(r.what == "end" for r in fleet.records()), "the job to run")

            filler = fill(small_disk)
            until(lambda: "disk is full" in worker.log, "the worker to tell", fleet.logs)
            with pytest.raises(DatabaseError, match=r"disk is full.*make room"):
                _submit_many(engine)
            assert job.status in (JobStatus.RUNNING, JobStatus.PENDING)

            filler.unlink()
            until(auditor.settled, "the jobs to go on", fleet.logs)
            findings = judge(auditor, fleet.records(), [job.id])
            assert findings.count == 0, findings
            assert worker.wait(0) is None, "the worker has lived through it"


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_that_may_not_grow_refuses_a_job_and_takes_it_later(tmp_path: Path) -> None:
    (tmp_path / "quarry.yaml").write_text("name: none\nnodes: {}\n")
    url = f"sqlite:///{tmp_path / 'ucop.db'}"
    with roles.open_engine(tmp_path, url, worker=False) as engine:
        kept = engine.submit("twig", start_of("twig", "kept"), key="kept")
        wal = tmp_path / "ucop.db-wal"
        with largest_file(wal.stat().st_size), pytest.raises(DatabaseError, match="jobs go on"):
            engine.submit("twig", start_of("twig", "refused"), key="refused")
        assert [job.id for job in engine.jobs()] == [kept.id]
        engine.submit("twig", start_of("twig", "refused"), key="refused")
        assert len(engine.jobs()) == 2


def test_a_folder_that_cannot_be_written_is_named_with_the_next_step(forge: Forge) -> None:
    folder = Path(tempfile.mkdtemp(prefix="ucop-readonly-"))
    closed = folder / "closed"
    closed.mkdir()
    url = f"sqlite:///{closed / 'ucop.db'}"
    try:
        with Fleet(folder, url, forge=forge) as fleet:
            roles.open_engine(folder, url, worker=False).close()
            folder.chmod(0o777)
            fleet.witness.path.chmod(0o666)
            _allow(closed, write=False)
            jobs = [{"workflow": "twig", "input": start_of("twig", "j")}]
            script = fleet.start("submit", jobs=jobs, user=NOBODY)
            until(lambda: script.wait(0) is not None, "the script to end", fleet.logs)
            assert script.status == 1
            assert "DatabaseError" in script.log
            assert "writable for this user" in script.log.replace("\n", " ")
            assert not any(r.what == "accepted" for r in fleet.records())

            _allow(closed, write=True)
            again = fleet.start("submit", jobs=jobs, user=NOBODY)
            until(lambda: again.wait(0) is not None, "the script to end", fleet.logs)
            assert again.status == 0, again.log
    finally:
        shutil.rmtree(folder)


def _allow(folder: Path, *, write: bool) -> None:
    for file in folder.iterdir():
        file.chmod(0o666 if write else 0o444)
    folder.chmod(0o777 if write else 0o555)


@pytest.mark.parametrize("damage", ["header", "middle", "text"])
def test_a_damaged_file_is_told_and_a_restored_one_goes_on(
    damage: str, tmp_path: Path, forge: Forge
) -> None:
    database, backup = tmp_path / "ucop.db", tmp_path / "backup.db"
    url = f"sqlite:///{database}"
    with Fleet(tmp_path, url, nap=0, forge=forge) as fleet:
        with roles.open_engine(tmp_path, url, worker=False) as engine:
            job = engine.submit("twig", start_of("twig", "j"))
        shutil.copy(database, backup)
        _damage(database, damage)

        with pytest.raises(DatabaseDamaged, match="Restore a backup"):
            _use(tmp_path, url, job.id)

        shutil.copy(backup, database)
        with Auditor(url) as auditor:
            fleet.worker(ready=False)
            until(auditor.settled, "the job to end", fleet.logs)
            findings = judge(auditor, fleet.records(), [job.id])
            assert findings.count == 0, findings


def _damage(database: Path, how: str) -> None:
    whole = database.read_bytes()
    if how == "header":
        database.write_bytes(b"\xff" * 100 + whole[100:])
    elif how == "middle":
        database.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    else:
        database.write_text("This is no database. " * 300)
