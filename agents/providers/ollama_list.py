"""Which models an Ollama has, and how a client of httpx talks to it.

Loads neither LangChain nor, as long as nothing answers, httpx.
"""

from __future__ import annotations

import asyncio
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..errors import ModelError, ModelUnavailable
from .endpoint import Endpoint
from .http_errors import RESUME, error_text

if TYPE_CHECKING:
    import ssl

LIST_TIMEOUT = 5.0


async def list_models(endpoint: Endpoint) -> frozenset[str] | None:
    """The names an Ollama has, each with its tag; None if no Ollama answers.

    Raises ModelUnavailable if something answers but cannot say which models it has:
    an endpoint in trouble is not the same as no endpoint.
    """
    if endpoint.is_loopback and not await _is_open(endpoint):
        return None
    import httpx

    timeout = httpx.Timeout(LIST_TIMEOUT)
    try:
        async with httpx.AsyncClient(**client_options(endpoint), timeout=timeout) as client:
            response = await client.get(f"{endpoint.url}/api/tags")
    except (httpx.ConnectError, httpx.ConnectTimeout):
        return None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _listless(endpoint, error_text(error)) from error
    if response.status_code == 404:
        return None
    if response.is_error:
        raise _listless(endpoint, f"HTTP {response.status_code}", status=response.status_code)
    try:
        return frozenset(str(model["name"]) for model in response.json()["models"])
    except (ValueError, KeyError, TypeError) as error:
        raise _listless(endpoint, "its answer is not a list of models") from error


async def _is_open(endpoint: Endpoint) -> bool:
    """Whether anything accepts connections there. To ask this costs less than to load httpx."""
    parts = urlsplit(endpoint.url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(LIST_TIMEOUT):
            _, writer = await asyncio.open_connection(parts.hostname, port)
    except OSError:
        return False
    writer.close()
    return True


def _listless(endpoint: Endpoint, what: str, status: int | None = None) -> ModelError:
    return ModelUnavailable(
        f"{endpoint.url}: an endpoint answers there but does not list its models ({what}). "
        f"Look at that server, or point OLLAMA_HOST elsewhere. {RESUME}",
        reached=False,
        transient=True,
        status=status,
    )


def client_options(endpoint: Endpoint) -> dict[str, Any]:
    """How a client of httpx talks to an endpoint: credentials, proxies, certificates."""
    return {
        "headers": dict(endpoint.headers),
        "trust_env": not endpoint.is_loopback,
        "verify": _tls(),
    }


@cache
def _tls() -> ssl.SSLContext:
    """One TLS context a process: reading the certificates takes some 20 ms."""
    import httpx

    return httpx.create_ssl_context()
