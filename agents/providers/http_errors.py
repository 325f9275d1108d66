"""What goes wrong between here and a provider over HTTP, and how a person is told of it.

Errors of HTTP libraries are known by their names: providers' clients bring copies of httpx.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import ModelResponseError, ModelTimeout, ModelUnavailable
from ..text.secret_url import shown_url

CONNECT_TIMEOUT = 10.0
"""Seconds in which a connection must be made."""
RESUME = "A job keeps what it finished: `ucop jobs resume` goes on from there."
LONGEST_READ = 10_000
"""Characters, or bytes, of an error that are looked at: it may hold a whole answer."""
LONGEST_SHOWN = 400

_TRANSIENT = frozenset({408, 425, 429})
_LIBRARIES = frozenset({"httpx", "httpx2", "httpcore", "httpcore2", "aiohttp"})


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """An error and what is behind it, the nearest first."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def is_unconnected(error: BaseException) -> bool:
    """Whether a connection could not be made, so that no request was sent."""
    return _is_of_http(error, "ConnectError", "ConnectTimeout", "ClientConnectorError")


def is_timeout(error: BaseException) -> bool:
    return isinstance(error, TimeoutError) or _is_of_http(error, "TimeoutException")


def is_broken(error: BaseException) -> bool:
    """Whether a connection broke, or what came over it is no HTTP."""
    broken = ("HTTPError", "StreamError", "TransportError", "ClientError")
    return isinstance(error, ConnectionError) or _is_of_http(error, *broken)


def _is_of_http(error: BaseException, *names: str) -> bool:
    return any(
        kind.__name__ in names and kind.__module__.partition(".")[0] in _LIBRARIES
        for kind in type(error).__mro__
    )


def error_text(error: BaseException) -> str:
    """What an error says, in one short line without secrets or a final full stop."""
    text = shown_url(" ".join(str(error)[:LONGEST_READ].split())) or type(error).__name__
    return text[:LONGEST_SHOWN].rstrip(".")


def rejection(
    where: str, status: int, reason: str, wait: float | None, advice: str
) -> ModelResponseError:
    """The error of an HTTP status. `advice` is shown if another try would not help."""
    transient = status in _TRANSIENT or status >= 500
    pause = f" It asks to wait {wait:g} s." if wait else ""
    return ModelResponseError(
        f"{where}: HTTP {status}: {reason}.{pause} {RESUME if transient else advice}",
        status=status,
        transient=transient,
        retry_after=wait,
    )


def not_connected(where: str, error: BaseException) -> ModelUnavailable:
    """The error of a request that could not be sent."""
    return ModelUnavailable(
        f"{where}: cannot connect ({error_text(error)}). {RESUME}", reached=False, transient=True
    )


def broken_off(where: str, reason: str) -> ModelResponseError:
    """The error of an answer that ended before its end."""
    return ModelResponseError(f"{where}: the answer broke off ({reason}). {RESUME}", transient=True)


def too_silent(where: str, idle_timeout: float) -> ModelTimeout:
    """The error of an endpoint that sent nothing for too long."""
    return ModelTimeout(
        f"{where}: nothing came within the idle timeout of {idle_timeout:g} s. Give `idle_timeout` "
        f"more seconds if the model is only slow. {RESUME}"
    )
