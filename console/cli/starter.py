"""The files of a new project. A test runs what they make."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from ucop.graphs.language.json_schema import FILE_NAME, schema_text

SETTINGS: Final = """\
# A ucop project: this folder. Every `ucop` command finds it from here or from a folder below.

# Jobs, checkpoints and the queue. Many machines: "postgresql://user@host/name".
database = "sqlite:///.ucop/ucop.db"

# YAML files, or "file.py:attribute" of a LangGraph StateGraph.
workflows = ["workflows/*.yaml"]

# YAML files with agents, or Python files with @agent functions.
agents = ["agents.py"]

# Names for models. `default` is what agents without a model of their own use. Where no Ollama
# has the model, the small embedded one answers instead, if it is installed.
[models]
default = "ollama:llama3.2"
"""

WORKFLOW: Final = """\
# yaml-language-server: $schema=workflow.schema.json
# Try it:   ucop run greet -i name=Ada
# Check it: ucop workflows check
name: greet
description: Write a greeting for somebody, and measure it.

input:
  name: {type: string, minLength: 1}
  occasion: {type: string, default: a birthday}

# An agent of this workflow's own: a prompt for a chat model. What the model answers is checked
# against `output`, and goes back to the model where it does not fit. An example says more to a
# small model than a long prompt.
agents:
  greeter:
    system: You write one short, friendly greeting. Reply with JSON.
    prompt: "Name: ${name}. Occasion: ${occasion}."
    input: {name: string, occasion: string}
    output:
      greeting: {type: string, minLength: 5, maxLength: 120}
    examples:
      - input: {name: Tom, occasion: a wedding}
        output: {greeting: "Dear Tom, all the best for the wedding!"}
    options: {temperature: 0}

nodes:
  write:
    agent: greeter
    with: {name: "${name}", occasion: "${occasion}"}
    writes: answer
  measure:
    agent: measure_text              # the Python function in agents.py
    with: {text: "${answer.greeting}"}
    writes: size

edges:
  - START -> write -> measure -> END

output:
  greeting: "${answer.greeting}"
  words: "${size.words}"
"""

AGENTS: Final = '''\
"""Agents in Python: a function whose type hints say what it takes and gives."""

from dataclasses import dataclass

from ucop.agents import agent


@dataclass
class Size:
    words: int
    characters: int


@agent
def measure_text(text: str) -> Size:
    """Count the words and characters of a text."""
    return Size(words=len(text.split()), characters=len(text))
'''

FILES: Final = MappingProxyType(
    {
        "ucop.toml": SETTINGS,
        "workflows/greet.yaml": WORKFLOW,
        f"workflows/{FILE_NAME}": schema_text(),
        "agents.py": AGENTS,
    }
)
"""Text by path, relative to the project's folder."""
