"""Vectors of texts: one request to the model that makes them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import httpx

from ..errors import ModelResponseError
from ..providers.endpoint import Endpoint
from ..providers.ollama import CONNECT_TIMEOUT, translated
from ..providers.ollama_list import client_options
from ..providers.ollama_loading import begun

if TYPE_CHECKING:
    from ollama import AsyncClient


async def embed(
    name: str, endpoint: Endpoint, texts: Sequence[str], timeout: float
) -> list[list[float]]:
    """One vector a text, by LangChain's embeddings of the provider. Raises ModelError."""
    provider, _, model = name.partition(":")
    if provider not in ("ollama", "embedded"):
        from langchain.embeddings import init_embeddings

        return await init_embeddings(name).aembed_documents(list(texts))
    from langchain_ollama import OllamaEmbeddings

    embeddings = OllamaEmbeddings(
        model=model,
        base_url=endpoint.url,
        client_kwargs={
            **client_options(endpoint),
            "timeout": httpx.Timeout(timeout, connect=CONNECT_TIMEOUT, read=None),
        },
    )
    try:
        with translated(model, endpoint.url):
            work = asyncio.ensure_future(embeddings.aembed_documents(list(texts)))
            try:
                await begun(work, cast("AsyncClient", embeddings._async_client), model, timeout)
                vectors = work.result()
            finally:
                work.cancel()
                await asyncio.wait([work])
    finally:
        await embeddings._async_client.close()  # type: ignore[union-attr]
        embeddings._client.close()  # type: ignore[union-attr]
    if len(vectors) != len(texts) or not all(vectors):
        raise ModelResponseError(f"{name} gave {len(vectors)} vectors for {len(texts)} texts")
    return vectors
