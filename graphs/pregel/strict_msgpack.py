"""LangGraph's strict msgpack, switched on when this is imported. Without it a crafted row in the
database can call any importable function."""

from __future__ import annotations

import os

from .wanted import need, need_use, wanted

# LangGraph reads this once, at import.
os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"

with wanted("reads checkpoints"):
    from langgraph.checkpoint.serde import _msgpack
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

    need(_msgpack, "STRICT_MSGPACK_ENABLED", "SAFE_MSGPACK_TYPES")
    need_use(JsonPlusSerializer.__init__, "STRICT_MSGPACK_ENABLED", "_unpack_ext_hook")

# The caller's program may have imported LangGraph before ucop, and so before the line above.
_msgpack.STRICT_MSGPACK_ENABLED = True

SAFE_TYPES = _msgpack.SAFE_MSGPACK_TYPES
"""Classes that LangGraph itself reads back, by module and name."""
