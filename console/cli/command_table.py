"""Every command of `ucop`, and the function that carries it out.

A command's module is imported when the command is asked for: `ucop jobs list` does not wait for
what `ucop run` needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """Commands under one name, such as `ucop jobs`."""

    help: str
    commands: Mapping[str, str]


JOBS = {
    "list": "jobs.list:list_jobs",
    "show": "jobs.show:show",
    "events": "jobs.watch:events",
    "watch": "jobs.watch:watch",
    "why": "jobs.why:why",
    "pause": "jobs.commands:pause",
    "resume": "jobs.commands:resume",
    "cancel": "jobs.commands:cancel",
    "retry": "jobs.commands:retry",
    "inbox": "jobs.answers:inbox",
    "answer": "jobs.answers:answer",
    "archive": "jobs.keeping:archive",
    "delete": "jobs.keeping:delete",
    "prune": "jobs.keeping:prune",
    "export": "jobs.transfer:export",
    "import": "jobs.transfer:import_",
}
CHECKPOINTS = {
    "list": "jobs.checkpoints:list_",
    "show": "jobs.checkpoints:show",
    "diff": "jobs.checkpoints:diff",
    "fork": "jobs.forks:fork",
    "restore": "jobs.forks:restore",
    "prune": "jobs.checkpoints:prune",
}
KEYS = {
    "add": "commands.keys:add",
    "list": "commands.keys:list_",
    "remove": "commands.keys:remove",
}
QUEUES = {
    "list": "commands.queues:list_queues",
    "set": "commands.queues:set_queue",
    "pause": "commands.queues:pause",
    "resume": "commands.queues:resume",
}
SCHEDULES = {
    "add": "commands.schedules:add",
    "list": "commands.schedules:list_",
    "show": "commands.schedules:show",
    "pause": "commands.schedules:pause",
    "resume": "commands.schedules:resume",
    "trigger": "commands.schedules:trigger",
    "remove": "commands.schedules:remove",
}
WEBHOOKS = {
    "list": "commands.webhooks:list_",
    "deliveries": "commands.webhooks:deliveries",
    "retry": "commands.webhooks:retry",
    "test": "commands.webhooks:send_one",
}
WORKFLOWS = {
    "list": "workflows.workflows:list_",
    "show": "workflows.workflows:show",
    "check": "workflows.workflows:check",
    "draw": "workflows.draw:draw",
    "schema": "workflows.schema:schema",
}
AGENTS = {
    "list": "commands.agents:list_",
    "show": "commands.agents:show",
    "run": "commands.agents:run",
}
MESH = {
    "agents": "commands.mesh:agents",
    "run": "commands.mesh:run",
    "stats": "commands.mesh:stats",
    "trace": "commands.mesh:trace",
}
MEMORY = {
    "ingest": "commands.memory:ingest",
    "search": "commands.memory:search",
    "list": "commands.memory:list_",
    "forget": "commands.memory:forget",
}
MODELS = {
    "list": "commands.models:list_",
    "check": "commands.models:check",
    "install": "commands.models:install",
    "serve": "commands.models:serve",
}

COMMANDS: Mapping[str, str | Group] = {
    "run": "commands.run:run",
    "generate": "commands.run:generate",
    "worker": "commands.worker:worker",
    "serve": "commands.serve:serve",
    "keys": Group("Manage the keys of the HTTP API.", KEYS),
    "check": "commands.check:check",
    "jobs": Group("Look at jobs and continue them.", JOBS),
    "queues": Group("Show, limit and pause queues.", QUEUES),
    "events": "jobs.events:events",
    "checkpoints": Group("Show checkpoints and continue from them.", CHECKPOINTS),
    "schedules": Group("Run workflows again and again.", SCHEDULES),
    "webhooks": Group("Send events to HTTP endpoints.", WEBHOOKS),
    "workflows": Group("Show, check and draw workflows.", WORKFLOWS),
    "agents": Group("Show agents, and run one alone.", AGENTS),
    "mesh": Group("Run and inspect meshes: agents that call each other.", MESH),
    "memory": Group("Show and delete memories of agents, and search documents.", MEMORY),
    "models": Group("Show and check models; install and serve the embedded model.", MODELS),
    "console": "commands.console:console",
    "init": "commands.project:init",
}
"""A module in this folder and its function, or a group of commands."""
