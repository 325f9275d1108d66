"""Vectors of texts from an Ollama."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import httpx
from langchain_ollama import OllamaEmbeddings

from ..errors import ModelResponseError
from .endpoint import Endpoint
from .http_errors import CONNECT_TIMEOUT
from .ollama import model_errors
from .ollama_list import client_options
from .ollama_loading import wait_for_start

if TYPE_CHECKING:
    from ollama import AsyncClient


async def embed(
    endpoint: Endpoint, model: str, texts: Sequence[str], idle_timeout: float
) -> list[list[float]]:
    """One vector a text, in one request. Raises ModelError."""
    embeddings = OllamaEmbeddings(
        model=model,
        base_url=endpoint.url,
        client_kwargs={
            **client_options(endpoint),
            "timeout": httpx.Timeout(idle_timeout, connect=CONNECT_TIMEOUT, read=None),
        },
    )
    client = cast("AsyncClient", embeddings._async_client)
    try:
        with model_errors(model, endpoint.url, idle_timeout):
            work = asyncio.ensure_future(embeddings.aembed_documents(list(texts)))
            try:
                await wait_for_start(work, client, model, idle_timeout)
                vectors = work.result()
            finally:
                work.cancel()
                await asyncio.wait([work])
    finally:
        await client.close()  # type: ignore[no-untyped-call]
        embeddings._client.close()  # type: ignore[union-attr]
    if len(vectors) != len(texts) or not all(vectors):
        raise ModelResponseError(
            f"{model} at {endpoint.url} returned {len(vectors)} vectors for {len(texts)} texts"
        )
    return vectors
