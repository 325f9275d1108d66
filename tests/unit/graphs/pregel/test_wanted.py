"""Every private name of LangGraph that ucop needs is missed when it is imported, and not amid a job."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ucop.engine.checkpoints import position, snapshots
from ucop.graphs import edit
from ucop.graphs.pregel import names, superstep
from ucop.graphs.workflows import yaml_workflow

CONSTANTS = "langgraph._internal._constants"
ALGO = "langgraph.pregel._algo"
POSTGRES = "langgraph.checkpoint.postgres.aio:AsyncPostgresSaver"
SQLITE = "langgraph.checkpoint.sqlite:SqliteSaver"
LOOP = "langgraph.pregel._loop:PregelLoop"
PREGEL = "langgraph.pregel:Pregel"
MSGPACK = "langgraph.checkpoint.serde._msgpack"
SERDE = "langgraph._internal._serde"

NEEDS = {
    "ucop.graphs.pregel.strict_msgpack": [
        (MSGPACK, "STRICT_MSGPACK_ENABLED"),
        (MSGPACK, "SAFE_MSGPACK_TYPES"),
        (
            "langgraph.checkpoint.serde.jsonplus:JsonPlusSerializer",
            "__init__ STRICT_MSGPACK_ENABLED",
        ),
    ],
    "ucop.graphs.pregel.compiling": [("langgraph.graph.state", "_DEFAULT_ERROR_HANDLER_NODE")],
    "ucop.graphs.pregel.allowlist": [
        (SERDE, "STRICT_MSGPACK_ENABLED"),
        (SERDE, "build_serde_allowlist"),
        (SERDE, "apply_checkpointer_allowlist"),
        (PREGEL, "__init__ _serde_allowlist"),
    ],
    "ucop.graphs.pregel.config_keys": [
        (CONSTANTS, "CONF"),
        (CONSTANTS, "CONFIG_KEY_CHECKPOINTER"),
        (CONSTANTS, "CONFIG_KEY_RUNTIME"),
        (CONSTANTS, "CONFIG_KEY_SCRATCHPAD"),
    ],
    "ucop.graphs.pregel.factory_runtime": [
        ("langgraph_sdk.runtime", "_ReadRuntime"),
        ("langgraph_sdk.runtime", "_ExecutionRuntime"),
    ],
    "ucop.graphs.pregel.node_runs": [
        ("langgraph.pregel._runner", "arun_with_retry"),
        ("langgraph.pregel._runner:PregelRunner", "atick arun_with_retry"),
    ],
    "ucop.graphs.pregel.stream_modes": [
        ("langgraph.pregel._messages", "StreamMessagesHandler"),
        ("langgraph.pregel._messages", "graph_namespace"),
        (PREGEL, "astream stream_put"),
    ],
    "ucop.graphs.pregel.superstep": [
        ("langgraph._internal._config", "patch_config"),
        (CONSTANTS, "TASKS"),
        (CONSTANTS, "NO_WRITES"),
        (CONSTANTS, "OVERWRITE"),
        (ALGO, "PregelTaskWrites"),
        (ALGO, "_scratchpad"),
        (ALGO, "apply_writes"),
        (ALGO, "local_read"),
        (ALGO, "prepare_next_tasks"),
        (ALGO, "task_path_str"),
        ("langgraph.pregel._checkpoint", "achannels_from_checkpoint"),
        ("langgraph.pregel._checkpoint", "create_checkpoint"),
        ("langgraph.pregel._read", "PregelNode"),
        ("langgraph.pregel._write", "ChannelWrite"),
    ],
    "ucop.engine.checkpoints.pregel_loops": [
        (LOOP, "_emit"),
        (LOOP, "tick _emit"),
        (PREGEL, "stream _put_checkpoint_fut"),
        (PREGEL, "astream _put_checkpoint_fut"),
    ],
    "ucop.engine.checkpoints.savers": [
        (PREGEL, "_output_mapper"),
        (PREGEL, "_state_mapper"),
        (PREGEL, "astream _output_mapper"),
    ],
    "ucop.engine.checkpoints.sqlite_saver": [
        (SQLITE, "cursor"),
        (SQLITE, "put cursor"),
        (SQLITE, "put_writes cursor"),
    ],
    "ucop.engine.checkpoints.postgres_saver": [
        ("langgraph.checkpoint.postgres._ainternal", "get_connection"),
        (POSTGRES, "_cursor"),
        (POSTGRES, "_dump_writes"),
        (POSTGRES, "INSERT_CHECKPOINT_WRITES_SQL"),
        (POSTGRES, "aput _cursor"),
        (POSTGRES, "aput_writes _cursor"),
    ],
}
"""By module: where a name is, and the name; of two names, the second is one that the first, a
function, no longer uses."""

RENAME = '''
import sys
from importlib import import_module

def holder_of(place):
    module, _, name = place.partition(":")
    return getattr(import_module(module), name) if name else import_module(module)

def other(*args, **options):
    """What a later version may have here."""

def renamed(holder, name):
    """Take a name away, also where a class inherits it; returns what puts it back."""
    owners = [o for o in getattr(holder, "__mro__", (holder,)) if name in vars(o)]
    owners += [o for o in getattr(holder, "__mro__", ()) if name in o.__dict__.get("__annotations__", {})]
    assert owners, (holder, name)
    undo = []
    for owner in owners:
        if name in vars(owner):
            undo.append((setattr, owner, name, vars(owner)[name]))
            delattr(owner, name)
        elif name in owner.__annotations__:
            undo.append((owner.__annotations__.__setitem__, name, owner.__annotations__.pop(name)))
    return lambda: [put(*what) for put, *what in undo]

def unused(holder, function):
    owner = next(o for o in getattr(holder, "__mro__", (holder,)) if function in vars(o))
    before = vars(owner)[function]
    setattr(owner, function, other)
    return lambda: setattr(owner, function, before)

wanted = sys.argv[1]
for need in sys.argv[2:]:
    place, _, what = need.partition("=")
    function, _, used = what.partition(" ")
    holder = holder_of(place)
    undo = unused(holder, function) if used else renamed(holder, function)
    try:
        import_module(wanted)
    except ImportError as error:
        print(need, error, sep=" -> ")
    else:
        sys.exit(f"{need} is not missed")
    finally:
        undo()
import_module(wanted)
'''


@pytest.mark.parametrize("module", NEEDS)
def test_a_missing_name_of_langgraph_stops_the_import_and_says_which_version_is_wanted(
    module: str,
) -> None:
    needs = [f"{place}={what}" for place, what in NEEDS[module]]
    ran = subprocess.run(
        [sys.executable, "-c", RENAME, module, *needs], capture_output=True, text=True, timeout=240
    )
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert len(lines) == len(needs)
    for line, (_, what) in zip(lines, NEEDS[module], strict=True):
        told = line.partition(" -> ")[2]
        assert told.startswith("this version of ucop "), line
        assert " with langgraph" in told, line
        assert what.split()[-1] in told, line


def test_names_that_are_written_again_without_langgraph_are_those_of_langgraph() -> None:
    from langgraph._internal import _constants
    from langgraph.constants import START

    assert yaml_workflow.OVERWRITE == _constants.OVERWRITE
    assert (edit.START, edit.INPUT) == (START, _constants.INPUT)
    assert position.SENDS == snapshots.SENDS == _constants.TASKS
    assert (superstep.BRANCH, superstep.JOIN) == (snapshots.BRANCH, snapshots.JOIN)
    way = f"outer{_constants.NS_END}1{_constants.NS_SEP}inner{_constants.NS_END}2"
    assert names.inside_of(way.split(_constants.NS_SEP)) == "outer/inner"
