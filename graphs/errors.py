"""The errors of workflows; the whole tree is drawn in `engine/errors.py`.

UcopError
├── UnknownWorkflow     no workflow of that name, or no such file
├── InvalidInput        the input of a job does not fit the workflow's declaration
├── WorkflowChanged     a Python graph no longer fits what the job began with
└── WorkflowError       a running workflow cannot go on
    ├── ExpressionError a reference or condition cannot be evaluated on the state
    └── StateError      a value cannot be kept in the state
"""

from __future__ import annotations

from ucop.agents.errors import UcopError


class UnknownWorkflow(UcopError):
    """No workflow has this name."""


class InvalidInput(UcopError):
    """The input does not fit the workflow."""


class WorkflowChanged(UcopError):
    """The Python graph is no longer the one that the job began with."""


class WorkflowError(UcopError):
    """The workflow cannot go on; the message names node and edge."""


class ExpressionError(WorkflowError):
    """An expression cannot be evaluated on the state as it is."""


class StateError(WorkflowError):
    """A value cannot be kept in the workflow's state."""
