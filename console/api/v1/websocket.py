"""The WebSocket: requests as messages, and any number of subscriptions on one connection.

A request is `{"id", "method", "params"}`, its answer `{"id", "result"}` or `{"id", "error"}`. A method
is a route's operation, as the OpenAPI document names it (`jobs.submit`); its parameters are those of
the path and the query, and the fields of the body. It passes all that the route passes.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from functools import cache
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from fastapi import APIRouter, FastAPI, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, Field, ValidationError

from ucop.engine.errors import UcopError
from ucop.engine.events.subscriptions import wanted

from ..access import Caller, Reads
from ..body import check_json
from ..parts import Parts, Uses, tenant_for
from ..problems import ProblemPlace, Refusal, invalid, problem_of, refusal_of, request_id
from ..sse import Told
from .forms import Form
from .streams import all_events, job_events

T = TypeVar("T", bound=BaseModel)

router = APIRouter()

AT_ONCE = 100
"""Requests and subscriptions that one connection may have under way."""

CREDENTIALS = ("x-api-key", "authorization")


class Request(Form):
    """A message."""

    id: str | int
    method: str
    params: dict[str, Any] = Field(default_factory=dict)


class Subscribe(Form):
    """What is to be followed: one job from `after` on, with tokens or without, until it rests; or
    the events of all jobs."""

    types: list[str] = Field(default_factory=list)
    job: str | None = None
    workflow: list[str] = Field(default_factory=list)
    tenant: str | None = None
    after: int | None = Field(default=None, ge=0, lt=2**63)
    tokens: bool = False


class Unsubscribe(Form):
    subscription: str


@router.websocket("/ws")
async def connect(socket: WebSocket, parts: Uses, caller: Reads) -> None:
    """Requests and subscriptions on one connection."""
    end = parts.open_stream(caller)
    try:
        await socket.accept()
        connection = Connection(socket, parts, caller)
        with suppress(WebSocketDisconnect):
            await connection.serve()
    finally:
        end()


class Connection:
    """One client. What it asks for is done side by side, and answered as it is done."""

    def __init__(self, socket: WebSocket, parts: Parts, caller: Caller) -> None:
        self._socket, self._parts, self._caller = socket, parts, caller
        self._sending = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._subscriptions: dict[str, asyncio.Task[None]] = {}

    async def serve(self) -> None:
        """Until the client goes, or the server stops: then with the code 1012, to come back."""
        reading = asyncio.create_task(self._read())
        stops = asyncio.create_task(self._parts.stopping.wait())
        try:
            await asyncio.wait((reading, stops), return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()
            else:
                await self._socket.close(1012, "the server stops; come back")
        finally:
            for task in (reading, stops, *self._tasks):
                task.cancel()
            await asyncio.gather(reading, stops, *self._tasks, return_exceptions=True)

    async def _read(self) -> None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            body = message.get("bytes") if text is None else text.encode("utf-8", "surrogatepass")
            id: str | int | None = None
            try:
                value = check_json(body or b"")
                id = value.get("id") if isinstance(value, dict) else None
                request = _read(Request, value)
                if len(self._tasks) >= AT_ONCE:
                    raise Refusal("rate-limited", f"{AT_ONCE} requests are under way here")
            except Refusal as refusal:
                await self._refuse(id if isinstance(id, str | int) else None, refusal)
                continue
            self._begin(self._answer(request))

    def _begin(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _answer(self, request: Request) -> None:
        try:
            match request.method:
                case "ping":
                    pass
                case "subscribe":
                    return await self._subscribe(request)
                case "unsubscribe":
                    self._unsubscribe(_read(Unsubscribe, request.params))
                case _:
                    return await self._call(request)
            await self._send({"id": request.id, "result": None})
        except WebSocketDisconnect:
            return None
        except (Refusal, UcopError) as error:
            await self._refuse(request.id, refusal_of(error))

    # ------------------------------------------------------------ routes

    async def _call(self, request: Request) -> None:
        """Carry out a route's operation, by the application itself."""
        operation = _operations(self._socket.app).get(request.method)
        if operation is None:
            raise Refusal("not-found", f"no method {request.method!r}")
        method, path, query = operation
        path, given = _filled(path, request.params)
        asked = {name: given.pop(name) for name in list(given) if name in query}
        headers = {
            name: self._socket.headers[name] for name in CREDENTIALS if name in self._socket.headers
        }
        transport = httpx.ASGITransport(self._socket.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answer = await client.request(
                method,
                path,
                params=asked,
                json=given if given or method in ("POST", "PUT", "PATCH") else None,
                headers=headers,
                timeout=None,
            )
        if answer.is_success:
            result = answer.json() if answer.content else None
            await self._send({"id": request.id, "result": result})
        else:
            await self._send({"id": request.id, "error": answer.json()})

    # ------------------------------------------------------------ subscriptions

    async def _subscribe(self, request: Request) -> None:
        form, parts = _read(Subscribe, request.params), self._parts
        tenant = tenant_for(self._caller, form.tenant)
        job = None if form.job is None else (await parts.job(form.job, self._caller)).id
        if job is not None and not form.types and not form.workflow:
            events = job_events(parts, job, form.after or 0, tokens=form.tokens)
        else:
            events = all_events(parts, wanted(form.types, job, form.workflow, tenant), form.after)
        name = f"s-{secrets.token_hex(4)}"
        await self._send({"id": request.id, "result": {"subscription": name}})
        self._subscriptions[name] = self._begin(self._follow(name, events))

    async def _follow(self, name: str, events: AsyncGenerator[Told]) -> None:
        try:
            with suppress(WebSocketDisconnect):
                async with aclosing(events):
                    async for event in events:
                        await self._tell(name, event)
        finally:
            self._subscriptions.pop(name, None)

    def _unsubscribe(self, form: Unsubscribe) -> None:
        if (task := self._subscriptions.pop(form.subscription, None)) is None:
            raise Refusal("not-found", f"no subscription {form.subscription!r}")
        task.cancel()

    # ------------------------------------------------------------ sending

    async def _tell(self, subscription: str, event: Told) -> None:
        told = {"subscription": subscription, "event": event.type, "id": event.id}
        head = _json(told)[:-1]
        await self._send_text(f'{head},"data":{event.text}}}')

    async def _refuse(self, id: str | int | None, refusal: Refusal) -> None:
        problem = problem_of(refusal, request_id(self._socket.scope))
        await self._send({"id": id, "error": problem.model_dump(mode="json", exclude_none=True)})

    async def _send(self, value: Any) -> None:
        await self._send_text(_json(value))

    async def _send_text(self, text: str) -> None:
        async with self._sending:
            await self._socket.send_text(text)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _read(form: type[T], value: Any) -> T:
    """Raises Refusal with the places that are wrong."""
    try:
        return form.model_validate(value)
    except ValidationError as error:
        places = [
            ProblemPlace(detail=one["msg"], pointer="".join(f"/{part}" for part in one["loc"]))
            for one in error.errors()
        ]
        told = "; ".join(f"{place.pointer or 'the message'}: {place.detail}" for place in places)
        raise Refusal("invalid-input", told, places) from None


Operation = tuple[str, str, frozenset[str]]
"""Method, path, and the names of the query's parameters."""


@cache
def _operations(app: FastAPI) -> Mapping[str, Operation]:
    """What can be asked for: all routes that answer with one value."""
    found = {}
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            answers = operation["responses"].values()
            if any("text/event-stream" in answer.get("content", {}) for answer in answers):
                continue
            query = (one["name"] for one in operation.get("parameters", ()) if one["in"] == "query")
            found[operation["operationId"]] = (method.upper(), path, frozenset(query))
    return found


def _filled(path: str, params: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """A path with its parameters, and the parameters that are left. Raises Refusal."""
    left = dict(params)

    def fill(found: re.Match[str]) -> str:
        value = left.pop(found[1], None)
        if not isinstance(value, str) or not value:
            raise invalid("must be a text", pointer=f"/params/{found[1]}")
        return quote(value, safe="")

    return re.sub(r"\{(\w+)\}", fill, path), left
