"""Every example of docs/workflows.md and docs/mesh.md is a workflow without a finding."""

from __future__ import annotations

import re

import pytest

from tests.support.paths import DOCS
from ucop.agents.spec.registry import load_registry
from ucop.agents.text.source import read_yaml
from ucop.graphs.workflows.catalog import Catalog
from ucop.graphs.workflows.yaml_file import workflow_of

PAGES = [(DOCS / name).read_text(encoding="utf-8") for name in ("workflows.md", "mesh.md")]
EXAMPLES = [text for page in PAGES for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]


@pytest.mark.parametrize("text", EXAMPLES, ids=lambda text: text.split("\n")[0])
def test_given_an_example_of_the_page_then_it_loads_and_compiles_without_a_finding(
    text: str,
) -> None:
    registry = load_registry(None)
    bundled = Catalog(None, (), registry)
    workflow = workflow_of(read_yaml(text, "workflows.md"), registry, bundled.find)
    assert workflow.warnings == ()
    workflow.graph()


def test_given_the_page_then_it_has_examples() -> None:
    assert len(EXAMPLES) >= 5
