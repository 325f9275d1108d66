"""What the OpenAPI document (3.1) says beside the routes: problems, and how a key is sent."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from .problems import MEDIA_TYPE, Problem

_REF = "#/components/schemas/"


def refusals() -> dict[int | str, dict[str, Any]]:
    """The answers of every route that refuses or fails."""
    content = {MEDIA_TYPE: {"schema": {"$ref": f"{_REF}Problem"}}}
    return {
        "4XX": {"description": "The request is refused.", "content": content},
        "5XX": {"description": "It could not be carried out.", "content": content},
    }


def describe(app: FastAPI) -> None:
    """Complete what FastAPI makes of the routes."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = made()
            problem = Problem.model_json_schema(ref_template=f"{_REF}{{model}}")
            components = document.setdefault("components", {})
            schemas = components.setdefault("schemas", {})
            schemas.update(problem.pop("$defs", {}))
            schemas["Problem"] = problem
            components["securitySchemes"] = {
                "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            }
            # Optional: a server on loopback without keys is open.
            document["security"] = [{}, {"key": []}, {"bearer": []}]
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
