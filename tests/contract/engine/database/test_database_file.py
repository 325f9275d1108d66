"""One SQLite file is one database, whichever way leads to it, and alone a whole backup."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.graphs import chain
from ucop.engine import DatabaseError, Engine, Settings
from ucop.engine.reading.reader import open_reader

DEADLINE = 30.0


def settings(folder: Path, url: str) -> Settings:
    return Settings.load(folder, database=url, poll=0.02, sweep=0.02)


def by_symlink(folder: Path) -> str:
    (folder / "link").symlink_to(folder / "real")
    return f"sqlite:///{folder}/link/jobs.db"


def by_file_symlink(folder: Path) -> str:
    (folder / "other").mkdir()
    (folder / "other" / "name.db").symlink_to("../real/jobs.db")
    return f"sqlite:///{folder}/other/name.db"


def by_dots(folder: Path) -> str:
    (folder / "deep").mkdir()
    return f"sqlite:///{folder}/deep/../real/jobs.db"


def by_relative_path(folder: Path) -> str:
    return "sqlite:///deep/../real/jobs.db"


@pytest.mark.parametrize("way", [by_symlink, by_file_symlink, by_dots, by_relative_path])
def test_workers_that_came_by_different_paths_see_each_other_alive(
    tmp_path: Path, way: Callable[[Path], str]
) -> None:
    other = way(tmp_path)
    first = Engine(settings=settings(tmp_path, f"sqlite:///{tmp_path}/real/jobs.db"))
    with first, Engine(settings=settings(tmp_path, other)) as second:
        for engine in (first, second):
            for _ in range(3):
                assert engine.submit(chain("a", seconds=0.1), {}).result(DEADLINE)
        assert (first.lost, second.lost) == (None, None)
        with open_reader(second.settings.url) as reader:
            assert len(reader.workers()) == 2
    beside = {path.name for path in (tmp_path / "real").iterdir()}
    assert beside == {"jobs.db", "jobs.db.lock", "jobs.db.workers"}


def test_a_symlink_to_a_file_that_is_not_there_yet_makes_it_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "real" / "jobs.db")
    with Engine(f"sqlite:///{tmp_path}/link.db", root=tmp_path) as engine:
        assert engine.submit(chain("a"), {}).result(DEADLINE)
    assert (tmp_path / "real" / "jobs.db").stat().st_size > 0
    assert (tmp_path / "link.db").is_symlink()


def test_a_symlink_that_leads_to_itself_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to("link.db")
    with pytest.raises(DatabaseError, match=r"link\.db: the path cannot be followed"):
        Engine(f"sqlite:///{tmp_path}/link.db", root=tmp_path)


def test_a_file_with_a_hard_link_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    with Engine(url, root=tmp_path, worker=False):
        pass
    os.link(tmp_path / "jobs.db", tmp_path / "again.db")
    with pytest.raises(DatabaseError, match=r"jobs\.db: the file has 2 names"):
        Engine(url, root=tmp_path)
    with pytest.raises(DatabaseError, match=r"again\.db: the file has 2 names"):
        open_reader(f"sqlite:///{tmp_path}/again.db")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_file()}


def output_in(file: Path, id: str) -> str:
    connection = sqlite3.connect(file)
    ((status,),) = connection.execute("select status from jobs where id = ?", (id,))
    connection.close()
    return str(status)


def test_after_a_clean_end_the_file_alone_is_a_whole_backup(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with Engine(f"sqlite:///{tmp_path}/a/jobs.db", root=tmp_path) as engine:
        job = engine.submit(chain("a", "b"), {})
        job.result(DEADLINE)
        engine.jobs()  # the engine reads with a connection of its own
    assert names(tmp_path / "a") == {"jobs.db", "jobs.db.lock"}
    shutil.copy(tmp_path / "a" / "jobs.db", tmp_path / "copy.db")
    assert output_in(tmp_path / "copy.db", job.id) == "completed"


def test_also_where_somebody_only_reads_it_meanwhile(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    with Engine(url, root=tmp_path) as engine:
        job = engine.submit(chain("a", "b"), {})
        job.result(DEADLINE)
        reader = open_reader(url)
        assert len(reader.jobs()) == 1
    assert (tmp_path / "jobs.db-wal").stat().st_size == 0
    shutil.copy(tmp_path / "jobs.db", tmp_path / "copy.db")
    assert output_in(tmp_path / "copy.db", job.id) == "completed"
    reader.close()
    assert names(tmp_path) == {"jobs.db", "jobs.db.lock", "copy.db"}


def test_the_last_of_two_engines_writes_the_log_back(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    first, second = Engine(url, root=tmp_path), Engine(url, root=tmp_path)
    first.submit(chain("a"), {}).result(DEADLINE)
    first.close()
    job = second.submit(chain("a"), {})
    job.result(DEADLINE)
    second.close()
    assert names(tmp_path) == {"jobs.db", "jobs.db.lock"}
    assert output_in(tmp_path / "jobs.db", job.id) == "completed"
