"""Writes that share a transaction, on a real SQLite file."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ucop.engine.database.group_commit import GroupCommit
from ucop.engine.errors import DatabaseBusy, Superseded


class File:
    """A table of names, and how often it was committed."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None, timeout=0)
        self.connection.execute("create table if not exists names (name text)")
        self.commits = 0
        self.group = GroupCommit(self.transaction, self.insist)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        try:
            self.connection.execute("begin immediate")
        except sqlite3.OperationalError as error:
            raise DatabaseBusy(str(error)) from error
        try:
            yield
            self.connection.execute("commit")
            self.commits += 1
        except BaseException:
            self.connection.execute("rollback")
            raise

    async def insist(self, work: Callable[[], None]) -> None:
        while True:
            await asyncio.sleep(0.01)
            try:
                return work()
            except DatabaseBusy:
                continue

    def add(self, name: str) -> Callable[[], str]:
        def work() -> str:
            self.connection.execute("insert into names values (?)", (name,))
            if name.startswith("bad"):
                raise Superseded(name)
            return name.upper()

        return work

    def names(self) -> list[str]:
        return [name for (name,) in self.connection.execute("select name from names")]


@pytest.fixture
def file(tmp_path: Path) -> Iterator[File]:
    file = File(tmp_path / "names.db")
    yield file
    file.connection.close()


async def test_writes_of_one_turn_share_a_transaction_in_their_order(file: File) -> None:
    told: list[str] = []
    writes = [file.group.write(file.add(name), told.append) for name in "abc"]
    assert await asyncio.gather(*writes) == ["A", "B", "C"]
    assert file.names() == ["a", "b", "c"]
    assert told == ["A", "B", "C"]
    assert file.commits == 1


async def test_one_that_fails_leaves_nothing_and_takes_no_other_along(file: File) -> None:
    told: list[str] = []
    names = ["a", "bad", "c", "bad too"]
    writes = [file.group.write(file.add(name), told.append) for name in names]
    a, bad, c, too = await asyncio.gather(*writes, return_exceptions=True)
    assert (a, c) == ("A", "C")
    assert isinstance(bad, Superseded)
    assert isinstance(too, Superseded)
    assert file.names() == ["a", "c"]
    assert told == ["A", "C"]


async def test_who_is_cancelled_before_the_commit_has_written_nothing(file: File) -> None:
    first = asyncio.create_task(file.group.write(file.add("a")))
    second = asyncio.create_task(file.group.write(file.add("b")))
    await asyncio.sleep(0)  # both wait; the commit is due in the next turn
    first.cancel()
    assert await second == "B"
    with pytest.raises(asyncio.CancelledError):
        await first
    assert file.names() == ["b"]


async def test_who_is_cancelled_after_the_commit_learns_of_it_first(file: File) -> None:
    seen: list[str] = []

    def cancel(_: str) -> None:
        task.cancel()

    async def caller() -> None:
        seen.append(await file.group.write(file.add("a"), cancel))
        await asyncio.sleep(60)

    task = asyncio.create_task(caller())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["A"]
    assert task.cancelling() == 1
    assert file.names() == ["a"]


async def test_while_another_process_holds_the_lock_writes_wait_and_keep_their_order(
    file: File, tmp_path: Path
) -> None:
    other = sqlite3.connect(tmp_path / "names.db", isolation_level=None)
    other.execute("begin immediate")
    first = asyncio.create_task(file.group.write(file.add("a")))
    await asyncio.sleep(0.05)
    second = asyncio.create_task(file.group.write(file.add("b")))
    await asyncio.sleep(0.05)
    assert not first.done()
    assert not second.done()
    other.execute("rollback")
    other.close()
    assert [*await asyncio.gather(first, second)] == ["A", "B"]
    assert file.names() == ["a", "b"]
