"""Errors of workflow definitions and their compiler; the whole tree is in engine/errors.py."""

from __future__ import annotations

from ucop.agents.errors import UcopError


class UnknownWorkflow(UcopError):
    """No workflow has this name, and no file is there."""


class InvalidInput(UcopError):
    """The input does not fit the workflow's declared input; the message names each problem."""


class WorkflowChanged(UcopError):
    """A Python graph no longer fits the checkpoint of the job that should go on."""
