"""The application: what is served, and what every request passes on its way there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

from fastapi import APIRouter, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.routing import APIRoute

from ucop.engine.commands.commands import open_commands
from ucop.engine.stores import api_keys

from . import border
from .access import Gate
from .body import StrictBodies
from .border import Border
from .description import describe, refusals
from .news import News
from .parts import Parts
from .problems import add_handlers
from .v1 import (
    agents,
    checkpoints,
    job_commands,
    jobs,
    keys,
    memory,
    questions,
    queues,
    schedules,
    streams,
    webhooks,
    websocket,
    workflows,
)

if TYPE_CHECKING:
    from ucop.engine import Engine

    from ..view.place import Place

V1 = "/api/v1"

ROUTERS = tuple(
    module.router
    for module in (
        job_commands,
        jobs,
        checkpoints,
        questions,
        streams,
        workflows,
        agents,
        queues,
        schedules,
        webhooks,
        memory,
        keys,
    )
)

EXPOSED = (
    "content-location",
    "location",
    "x-pagination-total",
    "x-pagination-next",
    "retry-after",
    "x-request-id",
)
"""Headers that pages of other origins may read."""


def make_app(
    engine: Engine,
    place: Place,
    *,
    hosts: Collection[str],
    origins: Collection[str],
    may_be_open: bool,
) -> FastAPI:
    """The application over an engine, which its caller closes.

    Args:
        hosts: Names of the server beside loopback ones.
        origins: Origins of other pages that may use it.
        may_be_open: Whether everybody is let in as long as there is no key.
    """

    @asynccontextmanager
    async def live(app: FastAPI) -> AsyncIterator[None]:
        # Enough that runs of agents, which may take minutes, leave threads to those who only read.
        threads = ThreadPoolExecutor(64, thread_name_prefix="ucop-http")
        asyncio.get_running_loop().set_default_executor(threads)
        async with open_commands(engine.settings) as commands:
            news = News(engine.settings.url)
            parts = Parts(engine=engine, place=place, news=news, commands=commands)
            app.state.parts = parts
            app.state.gate = Gate(
                parts.read,
                lambda id: parts.write(lambda: api_keys.used(id)),
                may_be_open=may_be_open,
            )
            await parts.write(api_keys.forget_changes)
            try:
                yield
            finally:
                await parts.close()

    app = FastAPI(
        title="ucop",
        version=version("ucop"),
        description="Durable jobs for LangGraph agent workflows.",
        lifespan=live,
        docs_url=None,  # it would load scripts from another host
        redoc_url=None,
        generate_unique_id_function=_operation,
        redirect_slashes=False,
    )
    add_handlers(app)
    describe(app)
    v1 = APIRouter(prefix=V1, responses=refusals())
    for router in ROUTERS:
        v1.include_router(router)
    v1.include_router(websocket.router)
    app.include_router(v1)
    most = engine.settings.serve.max_body
    app.add_middleware(StrictBodies, most=most, files=f"{V1}/jobs/import")
    app.add_middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_origin_regex=border.LOOPBACK_ORIGIN,
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=EXPOSED,
        allow_private_network=True,
        max_age=600,
    )
    app.add_middleware(Border, hosts=hosts, origins=origins)
    return app


def _operation(route: APIRoute) -> str:
    return f"{route.tags[0]}.{route.name}" if route.tags else route.name
