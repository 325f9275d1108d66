"""A real server with a real worker, on each database; one for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.support.command import Ucop
from tests.support.project import FILES
from tests.support.server import Server, serve


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
)
def project(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ucop]:
    """`ucop` in a small project, whose database is of this kind."""
    ucop = Ucop(tmp_path_factory.mktemp(request.param))
    url = None
    if request.param == "postgres":
        server = request.getfixturevalue("postgres_server")
        url = ucop.extra["UCOP_DATABASE"] = server.fresh()
    for path, text in FILES.items():
        ucop.write(path, text)
    yield ucop
    ucop.close()
    if url is not None:
        server.drop(url)


@pytest.fixture(scope="module")
def server(project: Ucop) -> Iterator[Server]:
    server = serve(project)
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client
