"""What is to be changed of a state, or of an input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ucop.graphs.workflow import Workflow

from ..errors import InvalidInput
from ..jobs.job import JobId


@dataclass(frozen=True, kw_only=True)
class Edit:
    """What is to be changed of a state."""

    update: Mapping[str, Any] = field(default_factory=dict)
    """Written as a node writes: what is merged is merged."""
    replace: Mapping[str, Any] = field(default_factory=dict)
    """Put in place of what is there."""
    as_node: str | None = None

    @property
    def is_none(self) -> bool:
        return not (self.update or self.replace)


@dataclass(frozen=True, kw_only=True)
class InputEdit:
    """What a job that rests is to go on with."""

    input: Mapping[str, Any] = field(default_factory=dict)
    """Inputs of the workflow that are to be others."""
    replace: Mapping[str, Any] = field(default_factory=dict)
    """Any names of its state."""
    as_node: str | None = None

    @property
    def is_none(self) -> bool:
        return not (self.input or self.replace)

    @property
    def names(self) -> list[str]:
        return sorted({*self.input, *self.replace})

    def checked(self, workflow: Workflow, job: JobId, before: Any, *, begun: bool) -> Any:
        """What to pass to the graph: the whole input if it has not begun, else only those
        inputs that are to be others. Raises InvalidInput."""
        if self.input and not isinstance(before, Mapping):
            raise InvalidInput(
                f"the input of job {job} is one value ({type(before).__name__}), so no name of it "
                "can be given another; submit it anew"
            )
        accepted = workflow.accept({**before, **self.input} if self.input else before)
        if begun:
            return {name: accepted[name] for name in self.input}
        if self.replace:
            named = ", ".join(sorted(self.replace))
            raise InvalidInput(
                f"job {job} has saved no state yet, so there is no {named} to edit; "
                "give its input other values instead"
            )
        return accepted


NO_EDIT = InputEdit()
