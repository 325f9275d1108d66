"""What a run is given beside its input: its context and config, kept with the job as JSON
(`jobs.run`). Secrets are named there as `${env:NAME}`, and looked up where an attempt begins."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ConfigDict, Field, ValidationError

from ..errors import InvalidInput, MissingSecret
from ..jobs.redaction import BY_NAME, Redaction
from ..record import Record
from .job import Text

if TYPE_CHECKING:
    from ucop.graphs.workflow import Workflow

RECURSION_LIMIT_MOST = 2**31 - 1

_OWN = "ucop_"
"""How the names of ucop's own metadata begin."""

_REFUSED = {
    "callbacks": "callbacks are objects of this process, and the job may run in another one; "
    "add them in the graph itself (`graph.with_config(callbacks=…)`)",
    "durability": "every job runs with durability 'sync', so that no finished node is lost",
    "max_concurrency": "LangGraph would let finished nodes wait, unsaved, behind others that have "
    "not begun; limit inside the node instead",
    "run_id": "LangGraph gives each attempt an id of its own; the job's id is in the metadata, "
    "as ucop_job",
    "run_name": "give the graph a name instead",
}
_REFUSED_CONFIGURABLE = {
    "thread_id": "give thread_id to submit, beside the config",
    "checkpoint_id": "a job goes on from its own last checkpoint; fork it to begin at another",
    "checkpoint_ns": "LangGraph sets it",
    "checkpoint_map": "LangGraph sets it",
    "durability": _REFUSED["durability"],
    "callbacks": _REFUSED["callbacks"],
}
BREAKPOINTS = ("interrupt_before", "interrupt_after")
KNOWN = ("configurable", "tags", "metadata", "recursion_limit", *BREAKPOINTS)


TYPED_INPUT = "typed_input"


class RunConfig(Record):
    """LangGraph's config, as far as a job can keep it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    configurable: dict[Text, Any] = Field(default_factory=dict)
    """What nodes and factories read; values are JSON."""
    tags: list[Text] = Field(default_factory=list)
    metadata: dict[Text, Any] = Field(default_factory=dict)
    recursion_limit: int | None = Field(default=None, ge=1, le=RECURSION_LIMIT_MOST)
    """Supersteps that one attempt may take; None is LangGraph's own limit."""
    interrupt_before: Literal["*"] | list[Text] | None = None
    """Nodes that the job stops before; None is what the graph was compiled with."""
    interrupt_after: Literal["*"] | list[Text] | None = None

    def over(self, other: RunConfig) -> RunConfig:
        """This config, and of `other` what it does not say."""
        return RunConfig(
            configurable={**other.configurable, **self.configurable},
            tags=self.tags or other.tags,
            metadata={**other.metadata, **self.metadata},
            recursion_limit=self.recursion_limit or other.recursion_limit,
            **{name: _first(getattr(self, name), getattr(other, name)) for name in BREAKPOINTS},
        )


def _first(*found: Any) -> Any:
    return next((each for each in found if each is not None), None)


NO_CONFIG = RunConfig.model_construct(
    configurable={},
    tags=[],
    metadata={},
    recursion_limit=None,
    interrupt_before=None,
    interrupt_after=None,
)


class RunOptions(Record):
    """All that a submission says of how its graph is to run."""

    # A later version may keep more here: what this one does not know, it keeps.
    model_config = ConfigDict(frozen=True, extra="allow")

    context: dict[str, Any] | None = None
    """For LangGraph's `context`, as JSON."""
    config: RunConfig = NO_CONFIG
    typed_input: str | None = None
    """The input as Python gave it, where JSON alone cannot say it: see inputs.py."""
    notice: str | None = None
    """What whoever looks at the job should know of how it was submitted."""

    def to_json(self) -> str:
        """As `jobs.run` keeps it."""
        return "{}" if self is PLAIN else self.model_dump_json(exclude_defaults=True)


PLAIN = RunOptions.model_construct(context=None, config=NO_CONFIG, typed_input=None, notice=None)
"""Of a job that was given its input alone."""


def run_options(text: str) -> RunOptions:
    """From what `jobs.run` keeps."""
    return PLAIN if text == "{}" else RunOptions.model_validate_json(text)


def read_config(config: Mapping[str, Any] | None) -> RunConfig:
    """A config as a caller gave it. Raises InvalidInput naming everything that is wrong."""
    if config is None:
        return NO_CONFIG
    if not isinstance(config, Mapping):
        raise InvalidInput(f"config: must be an object with {', '.join(KNOWN)}, not {config!r}")
    # Here, because those who only read need none of it.
    from ucop.graphs.errors import StateError
    from ucop.graphs.types.state import normalise

    given = dict(config)
    wrong = [f"config.{name}: {_REFUSED[name]}" for name in given if name in _REFUSED]
    unknown = [name for name in given if name not in KNOWN and name not in _REFUSED]
    wrong += [f"config.{name}: there is {', '.join(KNOWN)}" for name in unknown]
    kept = {name: given[name] for name in KNOWN if given.get(name) is not None}
    wrong += _wrong_names(kept)
    try:
        read = RunConfig.model_validate(normalise(kept, None, "config"))
    except StateError as error:
        wrong.append(str(error))
    except ValidationError as error:
        wrong += [
            f"config.{'.'.join(map(str, e['loc']))}: {e['msg']}"
            for e in error.errors(include_url=False)
        ]
    if wrong:
        raise InvalidInput(f"the config cannot be used: {'; '.join(wrong)}")
    return read


def _wrong_names(kept: Mapping[str, Any]) -> list[str]:
    configurable, metadata = kept.get("configurable"), kept.get("metadata")
    names = [*configurable] if isinstance(configurable, Mapping) else []
    told = [*metadata] if isinstance(metadata, Mapping) else []
    return [
        *(
            f"config.configurable.{name}: {_REFUSED_CONFIGURABLE[name]}"
            for name in names
            if name in _REFUSED_CONFIGURABLE
        ),
        *(
            f"config.configurable.{name}: names that begin with __ are LangGraph's own"
            for name in names
            if isinstance(name, str) and name.startswith("__")
        ),
        *(
            f"config.metadata.{name}: names that begin with {_OWN} are ucop's own"
            for name in told
            if isinstance(name, str) and name.startswith(_OWN)
        ),
    ]


def check_breakpoints(config: RunConfig, workflow: Workflow) -> None:
    """Raises InvalidInput for breakpoints at which no graph of the workflow can stop."""
    given = {name: nodes for name in BREAKPOINTS if (nodes := getattr(config, name))}
    if not given:
        return
    from langgraph.pregel import Pregel

    graph = workflow.graph()
    if not isinstance(graph, Pregel):
        raise InvalidInput(
            f"config.{next(iter(given))}: the graph of {workflow.name!r} runs elsewhere; "
            "compile it with its breakpoints there"
        )
    known = [node for node in graph.nodes if not node.startswith("__") and not workflow.hides(node)]
    wrong = [
        f"config.{name}: {workflow.name!r} has no node {node!r}; it has {', '.join(known)}"
        for name, nodes in given.items()
        for node in ([] if nodes == "*" else nodes)
        if node not in known
    ]
    if wrong:
        raise InvalidInput("; ".join(wrong))


def new_run_options(
    context: dict[str, Any] | None, config: RunConfig, notice: str | None = None
) -> RunOptions:
    """What a new job is given."""
    if context is None and config is NO_CONFIG and notice is None:
        return PLAIN
    return RunOptions(context=context, config=config, notice=notice)


@dataclass(frozen=True, kw_only=True)
class Regiven:
    """What of a job's context and config is to be another from now on."""

    context: Any = None
    config: RunConfig = NO_CONFIG

    def __bool__(self) -> bool:
        return self.context is not None or self.config is not NO_CONFIG

    def over(self, run: RunOptions, workflow: Workflow) -> RunOptions:
        """`run` with what is new. Raises InvalidInput for what the workflow does not take."""
        whole = run.context if self.context is None else self.context
        if isinstance(self.context, Mapping):
            whole = {**(run.context or {}), **self.context}
        context = None if whole is None else workflow.accept_context(whole, names_secrets)
        config = self.config.over(run.config)
        check_breakpoints(config, workflow)
        return run.model_copy(update={"context": context, "config": config})


AS_IT_IS = Regiven()
"""Nothing is to be another."""


def read_regiven(context: Any, config: Mapping[str, Any] | None) -> Regiven:
    """As a caller gave it. Raises InvalidInput."""
    if context is None and config is None:
        return AS_IT_IS
    return Regiven(context=context, config=read_config(config))


def for_factory(config: RunConfig) -> dict[str, Any]:
    """What of a config a factory may make another graph for."""
    return {"configurable": config.configurable} if config.configurable else {}


# ---------------------------------------------------------------- secrets by name


def names_secrets(value: Any) -> bool:
    """Whether a value of JSON names a secret somewhere."""
    if isinstance(value, str):
        return BY_NAME.search(value) is not None
    if isinstance(value, Mapping):
        return any(names_secrets(inner) for inner in value.values())
    if isinstance(value, list | tuple):
        return any(names_secrets(inner) for inner in value)
    return False


def with_secrets(
    value: Any, who: str, then: str = "", find: Callable[[str], str | None] = os.environ.get
) -> Any:
    """`value` with the secrets that it names. Raises MissingSecret naming all that are not set."""
    missing: list[str] = []

    def found(match: re.Match[str]) -> str:
        if (text := find(match[1])) is None:
            missing.append(match[1])
            return ""
        return text

    def walk(value: Any) -> Any:
        if isinstance(value, str):
            return BY_NAME.sub(found, value)
        if isinstance(value, Mapping):
            return {key: walk(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [walk(inner) for inner in value]
        return value

    resolved = walk(value)
    if missing:
        names = ", ".join(dict.fromkeys(missing))
        raise MissingSecret(
            f"{who} needs {names} from the environment of its process, where it is not set{then}"
        )
    return resolved


def masked(value: Any) -> Any:
    """`value` as it may be shown: without what looks like a secret. Names of secrets stay."""
    return Redaction().value(value)


def shown_config(config: RunConfig) -> dict[str, Any]:
    """A config as it may be shown: what it says, masked."""
    if config is NO_CONFIG:
        return {}
    said = json.loads(config.model_dump_json(exclude_defaults=True))
    shown: dict[str, Any] = masked(said)
    return shown
