"""A fork under another definition: what must fit before it may go on with that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ucop.graphs.errors import WorkflowChanged
from ucop.graphs.topology.wiring import refusal
from ucop.graphs.workflow import Workflow
from ucop.graphs.workflows.yaml_workflow import YamlWorkflow

from ..checkpoints.position import standing
from ..checkpoints.savers import attach
from ..ledger.lifecycle import ADD_DEFINITION
from ..ledger.operation import One, Operation
from ..values.json_text import to_json

if TYPE_CHECKING:
    from ..checkpoints.savers import FencedSaver
    from ..jobs.job import ThreadId


@dataclass(frozen=True, kw_only=True)
class Successor:
    """The definition that a fork goes on with, as the ledger keeps it."""

    workflow: str
    fingerprint: str
    definition: str
    needs: str
    input: str | None
    """Its input, if it is another than its parent's."""

    def kept(self) -> Operation[None]:
        """Keep the definition."""
        row = {"workflow": self.workflow, "fingerprint": self.fingerprint}
        yield One(ADD_DEFINITION, {**row, "definition": self.definition})


def successor_of(workflow: Workflow, given: dict[str, Any], edited: dict[str, Any]) -> Successor:
    """`workflow` for a fork of a job that was `given` an input. Inputs that it does not know are
    left out. Raises InvalidInput if it needs one that neither the job nor the edit has."""
    input = None
    if isinstance(workflow, YamlWorkflow):
        known = workflow.definition.inputs
        both = {**given, **edited}
        accepted = workflow.accept({name: both[name] for name in known if name in both})
        input = to_json(accepted)
    return Successor(
        workflow=workflow.name,
        fingerprint=workflow.fingerprint,
        definition=to_json(workflow.stored),
        needs=to_json(list(workflow.needs)),
        input=input,
    )


async def check_fit(
    old: Workflow, new: Workflow, saver: FencedSaver, thread: ThreadId, checkpoint: str
) -> None:
    """Raises WorkflowChanged if the new definition would leave out what is due."""
    where = {"thread_id": thread, "checkpoint_ns": "", "checkpoint_id": checkpoint}
    stands = await standing(attach(new.graph(), saver), {"configurable": where})
    why = refusal(old.wiring, new.wiring, stands)
    if why is not None:
        raise WorkflowChanged(
            f"workflow {new.name!r} ({new.origin}) cannot go on from checkpoint {checkpoint}: "
            f"{why}. Keep that node, or fork from an earlier checkpoint"
        )
