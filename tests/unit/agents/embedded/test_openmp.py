"""The OpenMP library that the embedded model needs, on systems that have none."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ucop.agents.embedded import openmp

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux wants libgomp"),
]

LOAD = """
import ctypes
from pathlib import Path
from ucop.agents.embedded import openmp

openmp.load(openmp.find_bundled())
assert ctypes.CDLL("libgomp.so.1").omp_get_max_threads() > 0
import xllamacpp
files = {line.split(maxsplit=5)[5].strip() for line in open("/proc/self/maps") if "libgomp" in line}
print(*files, sep="\\n")
"""


def test_the_extra_brings_the_library() -> None:
    assert openmp.find_bundled() is not None


def test_the_brought_library_serves_whoever_wants_the_systems() -> None:
    done = subprocess.run([sys.executable, "-c", LOAD], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert [file.split()[0] for file in done.stdout.splitlines()] == ["/memfd:libgomp.so.1"]
