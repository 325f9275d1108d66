"""Problem details (RFC 9457): the one table from ucop's errors to HTTP statuses and codes."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fastapi import FastAPI, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.requests import HTTPConnection
from fastapi.responses import Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from ucop.agents.errors import UnknownMerge
from ucop.engine import errors
from ucop.engine.errors import UcopError

log = logging.getLogger("ucop.api")

MEDIA_TYPE = "application/problem+json"


class ProblemPlace(BaseModel):
    """One mistake of a request, and where it is."""

    detail: str
    pointer: str | None = None
    """A JSON pointer into the body."""
    parameter: str | None = None
    """The name of a parameter in the path, the query or a header."""


class Problem(BaseModel):
    """Why a request was refused."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    instance: str
    """The request's id, which is also in the header `x-request-id` and in the server's log."""
    errors: list[ProblemPlace] = Field(default_factory=list)


@dataclass(frozen=True)
class Kind:
    """What the problems of one code have in common."""

    status: int
    title: str
    retry_after: int | None = None
    """Seconds after which the same request may succeed."""


KINDS: Final[Mapping[str, Kind]] = {
    "bad-request": Kind(400, "The request cannot be read"),
    "unauthorized": Kind(401, "A key is needed"),
    "forbidden": Kind(403, "Not allowed"),
    "not-found": Kind(404, "Not found"),
    "method-not-allowed": Kind(405, "Method not allowed"),
    "thread-busy": Kind(409, "The thread is busy"),
    "key-conflict": Kind(409, "The idempotency key is in use"),
    "refused-change": Kind(409, "The state does not allow this"),
    "exists": Kind(409, "It exists already"),
    "too-large": Kind(413, "The body is too large"),
    "unsupported-media-type": Kind(415, "Unsupported media type"),
    "invalid-input": Kind(422, "Invalid input"),
    "rate-limited": Kind(429, "Too many requests", retry_after=5),
    "internal": Kind(500, "Internal error"),
    "unavailable": Kind(503, "A model, a tool or a memory is unavailable", retry_after=5),
    "database": Kind(503, "The database is unavailable", retry_after=1),
    "stopping": Kind(503, "The server is stopping", retry_after=1),
}

OF_ERROR: Final[Sequence[tuple[type[UcopError], str]]] = (
    (errors.JobNotFound, "not-found"),
    (errors.CheckpointNotFound, "not-found"),
    (errors.ScheduleNotFound, "not-found"),
    (errors.DeliveryNotFound, "not-found"),
    (errors.ApiKeyNotFound, "not-found"),
    (errors.UnknownWorkflow, "not-found"),
    (errors.UnknownAgent, "not-found"),
    (errors.ThreadNotFound, "not-found"),
    (errors.ThreadExists, "exists"),
    (errors.ThreadBusy, "thread-busy"),
    (errors.KeyConflict, "key-conflict"),
    (errors.RefusedChange, "refused-change"),
    (errors.WorkflowChanged, "refused-change"),
    (errors.ScheduleExists, "exists"),
    (errors.JobExists, "exists"),
    (errors.ApiKeyExists, "exists"),
    (errors.InvalidInput, "invalid-input"),
    (errors.InvalidDefinition, "invalid-input"),
    (errors.InvalidJobFile, "invalid-input"),
    (errors.AgentInputError, "invalid-input"),
    (errors.MissingSecret, "invalid-input"),
    (errors.DatabaseRefusal, "invalid-input"),
    (errors.ModelError, "unavailable"),
    (errors.MemoryUnavailable, "unavailable"),
    (errors.ToolUnavailable, "unavailable"),
    (errors.DatabaseError, "database"),
    (errors.EngineClosed, "stopping"),
    (UnknownMerge, "invalid-input"),
)
"""The first entry that fits holds. What is not here is no answer to a request: 500."""


class Refusal(Exception):
    """A request that the API itself refuses."""

    def __init__(
        self,
        code: str,
        detail: str,
        places: Sequence[ProblemPlace] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.code, self.detail, self.places = code, detail, tuple(places)
        self.headers = dict(headers or {})


def invalid(detail: str, *, pointer: str | None = None, parameter: str | None = None) -> Refusal:
    """A mistake at one place of a request."""
    return Refusal(
        "invalid-input", detail, [ProblemPlace(detail=detail, pointer=pointer, parameter=parameter)]
    )


def code_of(error: UcopError) -> str:
    """The code of an error."""
    return next((code for kind, code in OF_ERROR if isinstance(error, kind)), "internal")


def refusal_of(error: Exception) -> Refusal:
    """Any error as the API tells it. What nobody planned says nothing of itself."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, UcopError) and (code := code_of(error)) != "internal":
        return Refusal(code, str(error), _findings(error))
    if isinstance(error, RequestValidationError):
        places = [_place(each) for each in error.errors()]
        return Refusal("invalid-input", "; ".join(_told(each) for each in places), places)
    if isinstance(error, HTTPException):
        codes = {401: "unauthorized", 403: "forbidden", 404: "not-found", 405: "method-not-allowed"}
        code = codes.get(error.status_code, "bad-request")
        return Refusal(code, str(error.detail), headers=error.headers)
    return Refusal("internal", "see the server's log for this request's id")


def answer(refusal: Refusal, request: str) -> Response:
    """A refusal as the answer to a request with this id."""
    problem, kind = problem_of(refusal, request), KINDS[refusal.code]
    headers = dict(refusal.headers)
    if kind.retry_after is not None:
        headers.setdefault("retry-after", str(kind.retry_after))
    if refusal.code == "unauthorized":
        headers["www-authenticate"] = "Bearer"
    body = problem.model_dump_json(exclude_none=True)
    return Response(body, kind.status, headers, media_type=MEDIA_TYPE)


def problem_of(refusal: Refusal, request: str) -> Problem:
    kind = KINDS[refusal.code]
    return Problem(
        type=f"/problems/{refusal.code}",
        title=kind.title,
        status=kind.status,
        detail=refusal.detail,
        code=refusal.code,
        instance=request,
        errors=list(refusal.places),
    )


def log_defect(error: BaseException, request: str) -> None:
    """Where an error came from, without what it says: that may hold what a job works on."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    log.error("request %s failed with %s\n%s", request, type(error).__name__, frames)


def add_handlers(app: FastAPI) -> None:
    """Answer every error that FastAPI hears of by a problem."""

    async def handle(connection: HTTPConnection, error: Exception) -> Response:
        refusal, request = refusal_of(error), request_id(connection.scope)
        if isinstance(connection, WebSocket):
            raise refusal  # border.py answers
        if refusal.code == "internal":
            log_defect(error, request)
        return answer(refusal, request)

    for kind in (Refusal, UcopError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, handle)


def request_id(scope: Mapping[str, Any]) -> str:
    """The id that border.py gave the request."""
    return str(scope["ucop_request"])


def _findings(error: UcopError) -> list[ProblemPlace]:
    if not isinstance(error, errors.InvalidDefinition):
        return []
    return [
        ProblemPlace(detail=f"{each.position}: {each.message}" if each.position else each.message)
        for each in error.findings
    ]


def _place(error: Mapping[str, Any]) -> ProblemPlace:
    where, *path = error["loc"]
    if where == "body":
        pointer = "".join(f"/{_escaped(part)}" for part in path)
        return ProblemPlace(detail=error["msg"], pointer=pointer)
    return ProblemPlace(detail=error["msg"], parameter=".".join(str(part) for part in path))


def _escaped(part: Any) -> str:
    return str(part).replace("~", "~0").replace("/", "~1")


def _told(place: ProblemPlace) -> str:
    where = place.parameter or place.pointer or "the body"
    return f"{where}: {place.detail}"
