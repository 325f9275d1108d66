"""`code_planner`: what a function must do, told by its tests."""

from __future__ import annotations

import ast
import builtins
import re
from pathlib import Path

from pydantic import BaseModel

from ..errors import AgentInputError
from ..run.context import AgentContext
from ..spec.function import agent
from .files import inside

LONGEST_TESTS = 20_000
"""Characters."""


class Exercise(BaseModel):
    """A function to be written."""

    task: str
    name: str
    signature: str
    """`def name(parameters)`, without a colon."""
    tests: str


def _demo(task: str, signature: str, *tests: str) -> Exercise:
    name = _NAME.findall(signature)[0]
    asserts = "\n".join(f"assert {test}" for test in tests)
    return Exercise(task=task, name=name, signature=signature, tests=asserts)


@agent(capabilities=["plan"], category="code")
def code_planner(
    task: str,
    context: AgentContext,
    signature: str | None = None,
    tests: str | None = None,
    tests_file: str | None = None,
) -> Exercise:
    """Read what a function must do: a task in words, a signature, and tests that must pass.

    The tests are Python: asserts, or functions named test_…; `tests_file` is a file under the
    project's folder that holds them. The signature follows from them if it is not given. A
    task that is the name of a demo (add, largest, is_even, …) brings both along.
    """
    written = _tests(tests, tests_file, context)
    if written is None:
        return _demo_named(task, signature)
    tree = _parse(written)
    header = _header(signature) if signature else _called_in(tree)
    name = _NAME.findall(header)[0]
    context.progress(f"{header}, {sum(map(_is_test, tree.body))} tests")
    return Exercise(task=task, name=name, signature=header, tests=written)


def _tests(tests: str | None, file: str | None, context: AgentContext) -> str | None:
    if tests is not None and file is not None:
        raise AgentInputError("`tests` and `tests_file` are both given; give one of them.")
    if file is None:
        return tests
    path = inside(context.folder, file)
    if path.suffix != ".py" or not path.is_file():
        raise AgentInputError(f"there is no Python file {path} with tests.")
    return _read(path)


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as stream:
            return stream.read(LONGEST_TESTS + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise AgentInputError(f"{path} cannot be read: {error}.") from error


def _demo_named(task: str, signature: str | None) -> Exercise:
    found = DEMOS.get(task.strip().casefold())
    if found is None or signature is not None:
        raise AgentInputError(
            "what the function must do is told by tests, and there are none. Give `tests` "
            "(such as: assert add(2, 3) == 5) or `tests_file`, or as the task one of the demos: "
            f"{', '.join(DEMOS)}."
        )
    return found


def _parse(tests: str) -> ast.Module:
    if len(tests) > LONGEST_TESTS:
        raise AgentInputError(f"the tests are longer than {LONGEST_TESTS} characters.")
    try:
        tree = ast.parse(tests, "tests")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        where = f" in line {line}" if line else ""
        raise AgentInputError(f"the tests are not Python{where}: {error}.") from error
    if not any(map(_is_test, tree.body)):
        raise AgentInputError("the tests hold no test: write asserts, or functions named test_….")
    return tree


def _is_test(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.FunctionDef):
        return statement.name.startswith("test")
    return isinstance(statement, ast.Assert | ast.Expr)


def _header(signature: str) -> str:
    """A signature as it is written, with or without `def` and colon."""
    header = "def " + signature.strip().removeprefix("def ").rstrip(": ")
    if "\n" not in header and len(header) <= 200 and _NAME.match(header):
        try:
            tree = ast.parse(f"{header}:\n    pass")
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            tree = ast.Module([], [])
        if [type(statement) for statement in tree.body] == [ast.FunctionDef]:
            return header
    raise AgentInputError(
        f"the signature {signature!r} is not one of a function, such as: add(a, b)"
    )


def _called_in(tree: ast.Module) -> str:
    """The signature of the function that the tests call."""
    own = {s.name for s in ast.walk(tree) if isinstance(s, ast.FunctionDef)}
    own |= {s.id for s in ast.walk(tree) if isinstance(s, ast.Name) and _is_stored(s)}
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            continue
        if call.func.id not in own | _BUILT_IN and _NAME.match(f"def {call.func.id}("):
            parameters = ", ".join("abcdefgh"[: len(call.args)])
            return f"def {call.func.id}({parameters})"
    raise AgentInputError("the tests call no function that is to be written; give `signature`.")


def _is_stored(name: ast.Name) -> bool:
    return isinstance(name.ctx, ast.Store)


_NAME = re.compile(r"^def ([A-Za-z_][A-Za-z0-9_]*)\(")
_BUILT_IN = frozenset(dir(builtins))

DEMOS = {
    exercise.name: exercise
    for exercise in (
        _demo(
            "Return the sum of two numbers.",
            "def add(a, b)",
            "add(2, 3) == 5",
            "add(-1, 1) == 0",
            "add(0, 0) == 0",
        ),
        _demo(
            "Return the largest of the numbers.",
            "def largest(numbers)",
            "largest([3, 9, 4]) == 9",
            "largest([-2, -7]) == -2",
        ),
        _demo(
            "Say whether a number is even.",
            "def is_even(n)",
            "is_even(4) == True",
            "is_even(7) == False",
            "is_even(0) == True",
        ),
        _demo(
            "Return the text backwards.",
            "def backwards(text)",
            "backwards('abc') == 'cba'",
            "backwards('') == ''",
        ),
        _demo(
            "Convert Celsius to Fahrenheit.",
            "def fahrenheit(celsius)",
            "fahrenheit(0) == 32",
            "fahrenheit(100) == 212",
        ),
        _demo(
            "Return the average of the numbers.",
            "def average(numbers)",
            "average([2, 4]) == 3",
            "average([5]) == 5",
        ),
    )
}
"""Small tasks with tests. The embedded model solves the first five, `fahrenheit` after one
error, and has not been seen to solve the last."""
