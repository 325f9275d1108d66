"""What a job's file may hold, record by record; job_file.py reads and writes it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from ..jobs.status import JobStatus, StepStatus
from ..values.packed import pack

JobName = Annotated[str, Field(pattern=r"^[0-9a-f]{20}$")]
StateId = Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
ValueId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Word = Annotated[str, Field(max_length=10_000)]
Count = Annotated[int, Field(ge=0, lt=2**31)]
Time = Annotated[float, Field(ge=0, lt=10**11, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Object = dict[str, JsonValue]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _such_as(kind: type[Part]) -> AfterValidator:
    """An object that has at least these fields. It stays as it is: what it does not say is not
    added."""

    def check(given: Object) -> Object:
        try:
            kind.model_validate(given)
        except ValidationError as error:
            raise ValueError(first_problem(error)) from None
        return given

    return AfterValidator(check)


def first_problem(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(step) for step in found["loc"])
    return f"{place or 'the record'}: {found['msg']}"


class Definition(Part):
    body: Object


class FramePart(Part):
    file: str
    line: int
    function: str


class CausePart(Part):
    type: str
    message: str
    how: Literal["cause", "context", "group"]
    frames: list[FramePart] = []


class ItemPart(Part):
    key: int | str
    value: JsonValue = None


class ErrorPart(Part):
    """See job.JobError, and job.StepError."""

    type: str
    message: str
    node: str | None = None
    channel: str | None = None
    kind: str | None = None
    item: ItemPart | None = None
    frames: list[FramePart] = []
    causes: list[CausePart] = []
    caught: bool = False


Error = Annotated[Object, _such_as(ErrorPart)]


class RunPart(Part):
    """See run_options.py; what a later version may say more is kept."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    context: Object | None = None
    config: Object = Field(default_factory=dict)
    typed_input: str | None = None


class JobPart(Part):
    id: JobName
    workflow: Word
    needs: list[Word]
    status: Annotated[JobStatus, Field(strict=False)]
    reason: str | None
    attempt: Annotated[int, Field(ge=1, lt=2**31)]
    input: JsonValue
    run: Annotated[Object, _such_as(RunPart)] = Field(default_factory=dict)
    output: JsonValue
    error: Error | None
    checkpoint_id: StateId | None
    priority: Annotated[int, Field(gt=-(2**31), lt=2**31)]
    tenant: Word | None
    labels: dict[Word, Word]
    budget: dict[Word, Amount]
    parent_job_id: JobName | None
    parent_checkpoint_id: StateId | None
    progress: Count
    created_at: Time
    queued_at: Time
    started_at: Time | None
    finished_at: Time | None


class AttemptPart(Part):
    number: Annotated[int, Field(ge=1, lt=2**31)]
    status: Word
    worker: Word | None
    outcome: str | None
    progress: Count
    queued_at: Time
    started_at: Time | None
    finished_at: Time | None


class StepPart(Part):
    task_id: Word
    attempt: Annotated[int, Field(ge=1, lt=2**31)]
    node: Word
    status: Annotated[StepStatus, Field(strict=False)]
    started_at: Time | None
    finished_at: Time | None
    input: JsonValue
    output: JsonValue
    error: Error | None
    model_calls: Count
    tokens_in: Count
    tokens_out: Count
    tokens_cached: Count
    tokens_reasoning: Count
    seconds_waited: Amount
    seconds_generating: Amount
    cost: Amount | None
    models: list[Word]
    cached: Count
    cached_calls: Count
    tries: Count


class EventPart(Part):
    seq: Annotated[int, Field(ge=1, lt=2**31)]
    type: Word
    at: Time
    data: Object


class QuestionPart(Part):
    id: Word
    node: Word
    question: JsonValue
    answer_schema: Object | None
    asked_at: Time
    due_at: Time | None
    default_answer: JsonValue
    answer: JsonValue
    answered_at: Time | None
    by_default: Annotated[int, Field(ge=0, le=1)]
    consumed_at: Time | None = None
    withdrawn_at: Time | None = None


class ValuePart(Part):
    """What a channel held, or a node wrote."""

    id: ValueId
    kind: Word
    data: str | None
    """Base64."""

    @property
    def bytes(self) -> bytes | None:
        return None if self.data is None else base64.b64decode(self.data, validate=True)


class OpenPart(Part):
    """What LangGraph may say more of."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)


class CheckpointPart(OpenPart):
    v: Count
    id: StateId
    ts: Annotated[str, AfterValidator(datetime.fromisoformat)]
    channel_versions: dict[Word, Word]
    versions_seen: dict[Word, dict[Word, Word]]


class MetadataPart(OpenPart):
    source: Word = ""
    step: Annotated[int, Field(ge=-(2**31), lt=2**31)] = -1
    ucop_job: Word = ""
    ucop_edit_of: StateId | None = None


def _is_packable(given: Object) -> Object:
    try:
        pack(given)
    except TypeError as error:  # a number that is too large, say
        raise ValueError(str(error)) from None
    return given


class StatePart(Part):
    ns: Word
    id: StateId
    parent_id: StateId | None
    checkpoint: Annotated[Object, _such_as(CheckpointPart), AfterValidator(_is_packable)]
    """All of it but its values."""
    values: dict[Word, ValueId]
    metadata: Annotated[Object, _such_as(MetadataPart)]


class WritePart(Part):
    ns: Word
    checkpoint_id: StateId
    task_id: Word
    task_path: Word
    idx: Annotated[int, Field(gt=-(2**31), lt=2**31)]
    channel: Word
    value: ValueId


@dataclass(kw_only=True)
class Contents:
    """A job as a file holds it, checked."""

    definition: Object = field(default_factory=dict)
    job: JobPart
    attempts: list[AttemptPart] = field(default_factory=list)
    steps: list[StepPart] = field(default_factory=list)
    events: list[EventPart] = field(default_factory=list)
    questions: list[QuestionPart] = field(default_factory=list)
    values: dict[str, ValuePart] = field(default_factory=dict)
    states: list[StatePart] = field(default_factory=list)
    writes: list[WritePart] = field(default_factory=list)


PARTS: Mapping[str, type[Part]] = {
    "definition": Definition,
    "job": JobPart,
    "attempt": AttemptPart,
    "step": StepPart,
    "event": EventPart,
    "question": QuestionPart,
    "value": ValuePart,
    "state": StatePart,
    "write": WritePart,
}
