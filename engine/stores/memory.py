"""The store of what is remembered, on the job database: LangGraph's own, opened when it is needed.

`JobStore` is a store of LangGraph like any other: graphs have it as `runtime.store`, agents as
`context.memory`. Behind it stand LangGraph's `AsyncSqliteStore` and `AsyncPostgresStore`. A value
with a text under `text` gets a vector; only then, and for a search by meaning, is a model asked.
The model with which a memory began is noted in it, and stays.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import math
import operator
import sqlite3
import threading
from array import array
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from langchain_core.embeddings import Embeddings
from langgraph.store.base import BaseStore, GetOp, Op, PutOp, Result, SearchOp
from langgraph.store.base.embed import get_text_at_path, tokenize_path

from ucop.agents.errors import MemoryUnavailable
from ucop.agents.memory.memory import ROOT, TEXT, Memory

from ..database.database_file import file_of
from ..dialect import POSTGRES, dialect_of

if TYPE_CHECKING:
    from ucop.agents.models.models import Models

MARK = ((ROOT, "index"), "model")
"""Where the memory notes whose vectors it holds."""

AT_ONCE = 32
"""Texts in one request for vectors."""

CONNECTIONS = 4
LOCK = 0x75636F70_6D656D
"""Of PostgreSQL's advisory locks, held while the tables are made."""
LONGEST_VECTOR = 2000
"""pgvector's index takes no longer ones at full precision."""
PATIENCE = 60.0
"""Seconds to wait for the database's write lock, and for the tables to be made."""

DEFAULT_MODEL = "ollama:nomic-embed-text"

Vectors = Mapping[str, Sequence[float]]

_ready: ContextVar[Vectors] = ContextVar("ready")
"""The vectors of the texts in the batch that runs."""


class JobStore(BaseStore):
    """LangGraph's store on the job database. Lives on the engine's loop; its methods with an `a`
    belong there, the others to any other thread."""

    def __init__(self, url: str, models: Models, *, model: str | None = None) -> None:
        """`model` makes the vectors; None for that of the memory, or else DEFAULT_MODEL."""
        self._url, self._models, self._asked = url, models, model
        self._loop, self._home = asyncio.get_running_loop(), threading.get_ident()
        self._open = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._plain: BaseStore | None = None
        self._indexed: BaseStore | None = None
        self._model = ""

    def memory(self, project: str, tenant: str | None) -> Memory:
        """What agents of a project remember for a tenant; without a tenant, for all that have
        none."""
        return Memory(self, self._loop, project=project, tenant=tenant, space=())

    async def aclose(self) -> None:
        self._plain = self._indexed = None
        await self._open.aclose()

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Raises MemoryUnavailable, and ModelError where a text needs a vector."""
        asked = [_by_text(op) for op in ops]
        texts = {text for op in asked for text in _texts(op)}
        queries = {op.query for op in asked if isinstance(op, SearchOp) and op.query}
        plain = await self._without_index()
        if not texts and not queries:
            results = await plain.abatch(asked)
        else:
            store = await self._with_index()
            # Before the store's own transaction: a model may take long.
            token = _ready.set(await self._vectors(texts, queries))
            try:
                results = await store.abatch(asked)
            finally:
                _ready.reset(token)
        await _drop_vectors(plain, [op for op in asked if isinstance(op, PutOp) and not _texts(op)])
        return results

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        if threading.get_ident() == self._home:
            raise RuntimeError("this would block the event loop: await the method with an `a`")
        return asyncio.run_coroutine_threadsafe(self.abatch(list(ops)), self._loop).result()

    async def _without_index(self) -> BaseStore:
        async with self._opening:
            if self._plain is None:
                self._plain = await self._open.enter_async_context(_open_store(self._url, None))
            return self._plain

    async def _with_index(self) -> BaseStore:
        plain = await self._without_index()
        async with self._opening:
            if self._indexed is None:
                size = await self._settle_model(plain)
                self._indexed = await self._open.enter_async_context(_open_store(self._url, size))
            return self._indexed

    async def _settle_model(self, plain: BaseStore) -> int:
        """Find the model, and the length of its vectors."""
        noted = await plain.aget(*MARK)
        if noted is not None:
            self._model, size = str(noted.value["model"]), int(noted.value["size"])
            if self._asked is not None and self._model not in self._models.candidates(self._asked):
                raise MemoryUnavailable(
                    f"this memory was made with {self._model}, and the setting memory.model now "
                    f"says {self._asked}: vectors of two models cannot be compared. Set it back, "
                    "or take another database"
                )
            return size
        use = await self._models.resolve(self._asked or DEFAULT_MODEL)
        self._model = use.name
        (vector,) = await self._models.embed(use.name, ["size"])
        await plain.aput(*MARK, {"model": use.name, "size": len(vector)})
        return len(vector)

    async def _vectors(self, texts: set[str], queries: set[str]) -> Vectors:
        """Of texts that are kept, each is made once and held in the store itself."""
        plain = await self._without_index()
        space = (ROOT, "vectors", self._model.replace(".", "%2E"))
        keys = {_hash(text): text for text in sorted(texts)}
        gets = [GetOp(space, key) for key in keys]
        held = await plain.abatch(gets) if gets else []
        found: dict[str, Sequence[float]] = {}
        for (_, text), item in zip(keys.items(), held, strict=True):
            if item is not None:
                found[text] = _unpack(item.value["vector"])  # type: ignore[union-attr]
        missing = [text for text in (*keys.values(), *sorted(queries)) if text not in found]
        for start in range(0, len(missing), AT_ONCE):
            some = missing[start : start + AT_ONCE]
            made = dict(zip(some, await self._models.embed(self._model, some), strict=True))
            found |= made
            kept = [
                PutOp(space, _hash(text), {"vector": _pack(vector)}, index=False)
                for text, vector in made.items()
                if text in texts
            ]
            if kept:
                await plain.abatch(kept)
        return found


async def _drop_vectors(store: BaseStore, puts: Sequence[PutOp]) -> None:
    """A value that has no text any more is not found by its old one. On SQLite its vector went
    with the row; LangGraph's PostgreSQL store would keep it."""
    pool: Any = getattr(store, "conn", None)
    if not puts or not hasattr(pool, "connection"):
        return
    spaces = [".".join(op.namespace) for op in puts]
    async with pool.connection() as connection:
        found = await connection.execute("select to_regclass('store_vectors') as vectors")
        if (await found.fetchone())["vectors"] is not None:
            await connection.execute(
                "delete from store_vectors where (prefix, key) in "
                "(select * from unnest(cast(%s as text[]), cast(%s as text[])))",
                (spaces, [op.key for op in puts]),
            )


class _Ready(Embeddings):
    """Hands the store the vectors that were made for its batch."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [list(_ready.get()[text]) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        return self.embed_documents(texts)

    async def aembed_query(self, text: str) -> list[float]:
        return self.embed_query(text)


def _by_text(op: Op) -> Op:
    """A write with the rule for what gets a vector: LangGraph's stores have each their own."""
    return op._replace(index=[TEXT]) if isinstance(op, PutOp) and op.index is None else op


def _texts(op: Op) -> list[str]:
    """The texts of a write that get vectors."""
    if not isinstance(op, PutOp) or op.value is None or not op.index:
        return []
    return [text for path in op.index for text in get_text_at_path(op.value, tokenize_path(path))]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _pack(vector: Sequence[float]) -> str:
    return base64.b64encode(array("f", vector).tobytes()).decode()


def _unpack(text: str) -> list[float]:
    return array("f", base64.b64decode(text)).tolist()


# ---- LangGraph's stores ----


@asynccontextmanager
async def _open_store(url: str, size: int | None) -> AsyncIterator[BaseStore]:
    """LangGraph's store, its tables made; with an index for vectors of `size`, if any."""
    index: Any = None if size is None else {"dims": size, "embed": _Ready()}
    opened = _open_postgres if dialect_of(url) is POSTGRES else _open_sqlite
    async with opened(url, index) as store:
        yield store


@asynccontextmanager
async def _open_sqlite(url: str, index: Any) -> AsyncIterator[BaseStore]:
    import aiosqlite
    from langgraph.store.sqlite import AsyncSqliteStore

    path = file_of(url)

    class Connection(aiosqlite.Connection):
        """Many Pythons have a sqlite3 that loads no extensions: there sqlite-vec's three
        functions are ours, in Python."""

        async def enable_load_extension(self, value: bool) -> None:
            if hasattr(sqlite3.Connection, "enable_load_extension"):
                await super().enable_load_extension(value)

        async def load_extension(self, path: str) -> None:
            if hasattr(sqlite3.Connection, "enable_load_extension"):
                await super().load_extension(path)
                return
            for name, function in DISTANCES.items():
                await self.create_function(name, 2, function, deterministic=True)

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(path, isolation_level=None, timeout=PATIENCE)

    async with Connection(connect, iter_chunk_size=64) as connection:
        # A vector goes when its text does.
        await connection.execute("pragma foreign_keys = on")
        await connection.execute("pragma synchronous = normal")
        store = AsyncSqliteStore(connection, index=index)
        await _make_tables(store.setup)
        yield store


@asynccontextmanager
async def _open_postgres(url: str, index: Any) -> AsyncIterator[BaseStore]:
    import psycopg
    from langgraph.store.postgres import AsyncPostgresStore
    from psycopg.rows import dict_row

    from ..database.postgres_pool import Pool

    settings = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    pool: Any = Pool(
        url, min_size=1, max_size=CONNECTIONS, kwargs=settings, open=False, timeout=PATIENCE
    )
    if index is not None and index["dims"] > LONGEST_VECTOR:
        index = {**index, "ann_index_config": {"kind": "hnsw", "vector_type": "halfvec"}}
    async with pool:
        store = AsyncPostgresStore(pool, index=index)
        try:
            async with _alone(pool):
                await store.setup()
        except (psycopg.errors.FeatureNotSupported, psycopg.errors.InsufficientPrivilege) as error:
            if index is None:
                raise
            raise MemoryUnavailable(
                "searching by meaning needs the extension pgvector in this PostgreSQL: install "
                "it on the server, and let someone who may run `create extension vector` in "
                f"this database ({str(error).splitlines()[0]})"
            ) from error
        yield store


@asynccontextmanager
async def _alone(pool: Any) -> AsyncIterator[None]:
    """No two processes make the tables at a time. Not a lock that is waited for in SQL: the
    index is made when no statement before it runs any more, and such a wait is one."""
    async with pool.connection() as connection:
        while True:
            if await _hold_lock(connection):
                break
            await asyncio.sleep(0.1)
        try:
            yield
        finally:
            await connection.execute(f"select pg_advisory_unlock({LOCK})")


async def _hold_lock(connection: Any) -> bool:
    found = await connection.execute(f"select pg_try_advisory_lock({LOCK}) as mine")
    return bool((await found.fetchone())["mine"])


async def _make_tables(setup: Callable[[], Any]) -> None:
    """Make the tables in SQLite; another process may be making them at the same time."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while True:
        try:
            await setup()
            return
        except (sqlite3.OperationalError, sqlite3.IntegrityError):
            if asyncio.get_running_loop().time() > deadline:
                raise
        await asyncio.sleep(0.1)


# ---- sqlite-vec's functions, where it cannot be loaded ----


@lru_cache(maxsize=8)
def _numbers(blob: bytes) -> tuple[array[float], float]:
    """A vector of sqlite-vec, and its length."""
    vector = array("f", blob)
    return vector, math.sqrt(sum(map(operator.mul, vector, vector)))


def _cosine(one: bytes, other: bytes) -> float | None:
    left = array("f", one)
    right, length = _numbers(other)
    size = math.sqrt(sum(map(operator.mul, left, left)))
    if not size or not length:
        return None
    return 1.0 - float(sum(map(operator.mul, left, right))) / (size * length)


def _euclidean(one: bytes, other: bytes) -> float:
    return math.dist(array("f", one), array("f", other))


def _manhattan(one: bytes, other: bytes) -> float:
    pairs = zip(array("f", one), array("f", other), strict=True)
    return math.fsum(abs(left - right) for left, right in pairs)


DISTANCES = {
    "vec_distance_cosine": _cosine,
    "vec_distance_L2": _euclidean,
    "vec_distance_L1": _manhattan,
}
