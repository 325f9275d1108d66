"""The names that others may rely on. A change here is a change for users: CHANGELOG.md tells it."""

from __future__ import annotations

from importlib import import_module

import pytest

PUBLIC = {
    "ucop.agents": [
        "Agent",
        "AgentContext",
        "AgentInputError",
        "AgentOutputError",
        "AgentRun",
        "AgentSpec",
        "DoublesRefused",
        "Finding",
        "Interceptor",
        "InterceptorMisused",
        "InvalidDefinition",
        "ModelError",
        "ModelResponseError",
        "ModelTimeout",
        "ModelUnavailable",
        "ModelRun",
        "ModelUse",
        "ModelFallback",
        "NodeRun",
        "ProviderSettings",
        "Models",
        "Position",
        "Ran",
        "Registry",
        "ToolUnavailable",
        "UcopError",
        "UnknownAgent",
        "UnknownMerge",
        "agent",
        "call",
        "load_registry",
        "merge",
        "run_alone",
    ],
    "ucop.engine": [
        "Attempt",
        "Changed",
        "Checkpoint",
        "DatabaseError",
        "Engine",
        "Event",
        "Filter",
        "InvalidDefinition",
        "InvalidInput",
        "Job",
        "JobError",
        "JobFailed",
        "JobHandle",
        "JobNotFound",
        "JobStatus",
        "JobStopped",
        "KeyConflict",
        "LiveStream",
        "Omitted",
        "Question",
        "ResultTimeout",
        "Schedule",
        "ScheduleExists",
        "ScheduleNotFound",
        "Settings",
        "Step",
        "StepError",
        "StepStatus",
        "Thread",
        "ThreadBusy",
        "ThreadExists",
        "ThreadHandle",
        "ThreadNotFound",
        "ThreadRun",
        "ThreadStatus",
        "thread_run",
        "Subscription",
        "UcopError",
        "UnknownWorkflow",
        "Usage",
    ],
}


@pytest.mark.parametrize("module", PUBLIC)
def test_a_package_exports_these_names(module: str) -> None:
    assert sorted(import_module(module).__all__) == sorted(PUBLIC[module])


@pytest.mark.parametrize("module", PUBLIC)
def test_every_exported_name_is_there(module: str) -> None:
    package = import_module(module)
    for name in package.__all__:
        assert getattr(package, name) is not None


@pytest.mark.parametrize("module", PUBLIC)
def test_another_name_is_refused_as_python_does(module: str) -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        import_module(module).nonsense  # noqa: B018


@pytest.mark.parametrize("module", ["ucop.graphs", "ucop.console"])
def test_the_other_floors_export_nothing_of_their_own(module: str) -> None:
    assert not [
        name for name in vars(import_module(module)) if name[0] != "_" and name[0].isupper()
    ]
    assert not hasattr(import_module(module), "__all__")
