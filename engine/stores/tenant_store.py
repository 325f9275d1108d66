"""What the graphs of one tenant have as `runtime.store`: a part of the job database's store that
no other tenant's graph can name. Graphs without a tenant have the whole."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    Result,
    SearchOp,
)

from ucop.agents.memory.memory import ROOT, namespace_of

TENANTS = "%tenants"
"""No project's label: in those a `%` is written otherwise."""


class TenantStore(BaseStore):
    """A view of a store: namespaces are those of the tenant, without what they begin with."""

    def __init__(self, store: BaseStore, tenant: str) -> None:
        self._store = store
        label = namespace_of("", tenant, ())[-1]
        self._root = (ROOT, TENANTS, label)

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        return self._own(await self._store.abatch([self._placed(op) for op in ops]))

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        return self._own(self._store.batch([self._placed(op) for op in ops]))

    def _placed(self, op: Op) -> Op:
        """The operation on the whole store."""
        match op:
            case GetOp() | PutOp():
                return op._replace(namespace=(*self._root, *op.namespace))
            case SearchOp():
                return op._replace(namespace_prefix=(*self._root, *op.namespace_prefix))
            case ListNamespacesOp():
                return self._listing(op)
        raise NotImplementedError(f"{type(op).__name__} of LangGraph's store")

    def _listing(self, op: ListNamespacesOp) -> ListNamespacesOp:
        asked = op.match_conditions or ()
        suffixes = [each for each in asked if each.match_type != "prefix"]
        prefixes = [
            each._replace(path=(*self._root, *each.path))
            for each in asked
            if each.match_type == "prefix"
        ]
        own = prefixes or [MatchCondition("prefix", self._root)]
        depth = None if op.max_depth is None else op.max_depth + len(self._root)
        return op._replace(match_conditions=(*own, *suffixes), max_depth=depth)

    def _own(self, results: list[Result]) -> list[Result]:
        return [self._shown(result) for result in results]

    def _shown(self, result: Any) -> Any:
        if isinstance(result, Item):
            result.namespace = tuple(result.namespace)[len(self._root) :]
        elif isinstance(result, list):
            return [self._shown(each) for each in result]
        elif isinstance(result, tuple):
            return result[len(self._root) :]
        return result
