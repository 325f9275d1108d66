"""Which graph a job of this process runs: the object that it was submitted with.

A job names its graph, and any process that knows a graph of that name may run it. In the process
that submitted it there is no need to look the name up: it runs what was passed, also where the
name stands for another graph by then. An object without a name can run here and nowhere else.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ..dialect import Tables
from ..errors import InvalidInput
from ..jobs.job import JobId
from ..ledger.operation import One, Operation

if TYPE_CHECKING:
    from ucop.graphs.workflow import Workflow

KEPT = 4096
"""Jobs that are remembered before those that have ended for good are forgotten."""

OBJECTS_KEPT = 256
"""Objects without a name that are known again when they are submitted again."""

_UNNAMED = ("LangGraph", "<lambda>", "RunnableSequence")


class LocalGraphs:
    """The graphs of this process's jobs."""

    def __init__(self) -> None:
        self.process = f"process:{secrets.token_hex(6)}"
        """What a job needs that only this process can run."""
        self._jobs: OrderedDict[str, Workflow] = OrderedDict()
        self._objects: OrderedDict[int, Workflow] = OrderedDict()

    def keep(self, job: str, workflow: Workflow) -> None:
        """`job` runs this very workflow in this process."""
        if any(need.startswith(("graph:", "process:")) for need in workflow.needs):
            self._jobs[job] = workflow

    def forget(self, jobs: Iterable[str]) -> None:
        for job in jobs:
            self._jobs.pop(job, None)

    def of(self, job: str) -> Workflow | None:
        """What a job was submitted with here, if it was."""
        return self._jobs.get(job)

    @property
    def oldest(self) -> list[str]:
        """The jobs to ask about once there are too many: they may have ended."""
        return list(self._jobs)[: -KEPT // 4] if len(self._jobs) > KEPT else []

    def unnamed(self, graph: Any) -> Workflow:
        """A workflow of an object that nobody gave a name."""
        from ucop.graphs.workflows.python_workflow import PythonWorkflow

        known = self._objects.get(id(graph))
        if known is None:
            shape = PythonWorkflow("graph", graph).fingerprint[:8]
            known = PythonWorkflow(f"graph-{shape}", graph, needs=(self.process,))
            self._objects[id(graph)] = known  # which holds the object, and so its id
            while len(self._objects) > OBJECTS_KEPT:
                self._objects.popitem(last=False)
        return known


def graph_name(graph: Any) -> str | None:
    """What a graph that is passed without a name is known as; None if it has none itself."""
    name = getattr(graph, "name", None) or getattr(graph, "__name__", None)
    if isinstance(name, str) and name not in _UNNAMED:
        return name
    return _function_name(graph)


def _function_name(graph: Any) -> str | None:
    """The name of the function that `@entrypoint` made a graph of."""
    from langgraph.pregel import Pregel

    from ucop.graphs.topology.graph_shape import GraphShape

    if isinstance(graph, Pregel) and GraphShape(graph).is_function:
        return next(iter(graph.nodes))
    return None


def notice(workflow: Workflow, *, listed: Callable[[str], bool], worker: bool) -> str | None:
    """What to say of a job whose graph was passed as an object. Raises InvalidInput where no
    process could ever run it."""
    how = "give it a name (compile(name=…) or engine.add) that workers know, too"
    if any(need.startswith("process:") for need in workflow.needs):
        if not worker:
            raise InvalidInput(
                "this graph has no name, so only this process could run it, and no worker runs "
                f"here; {how}"
            )
        return f"only the process that submitted it can run it: its graph has no name; {how}"
    if listed(workflow.name):
        return None
    return (
        f"only processes that know graph {workflow.name!r} can run it: the project does not list "
        "it, and it was passed as an object; add it there with engine.add, or to `workflows` in "
        "the project's file"
    )


_ENDED = "select id from jobs where id in {ids} and status in ('completed', 'cancelled')"


def ended(tables: Tables, jobs: list[str]) -> Operation[list[JobId]]:
    """Which of these jobs no attempt can follow any more."""
    from ..values.json_text import to_json

    sql = _ENDED.format(ids=tables.listed.format(name="jobs"))
    return [JobId(row["id"]) for row in (yield One(sql, {"jobs": to_json(jobs)}))]
