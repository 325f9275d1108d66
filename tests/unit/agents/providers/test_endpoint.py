"""OLLAMA_HOST in every form that Ollama takes; when to try again; RetryRules-After."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

import pytest

from ucop.agents.errors import ModelError
from ucop.agents.providers.endpoint import Endpoint, ollama_endpoint
from ucop.agents.providers.retry import RetryRules, parse_retry_after


@pytest.mark.parametrize(
    ("host", "url"),
    [
        (None, "http://127.0.0.1:11434"),
        ("", "http://127.0.0.1:11434"),
        ("  ", "http://127.0.0.1:11434"),
        ("1.2.3.4", "http://1.2.3.4:11434"),
        (":56789", "http://127.0.0.1:56789"),
        ("1.2.3.4:56789", "http://1.2.3.4:56789"),
        ("example.com", "http://example.com:11434"),
        ("example.com/", "http://example.com:11434"),
        ("example.com:1/path/", "http://example.com:1/path"),
        ("http://1.2.3.4", "http://1.2.3.4:80"),
        ("https://example.com", "https://example.com:443"),
        ("https://example.com:56789/path", "https://example.com:56789/path"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:8000", "http://127.0.0.1:8000"),
        ("http://0.0.0.0:8000", "http://127.0.0.1:8000"),
        ("[::]:8000", "http://[::1]:8000"),
        ("[::1]", "http://[::1]:11434"),
        ('"1.2.3.4:5"', "http://1.2.3.4:5"),
        ("1.2.3.4:port", "http://1.2.3.4:11434"),
        ("1.2.3.4:66000", "http://1.2.3.4:11434"),
    ],
)
def test_a_host_is_read_as_ollama_reads_it(host: str | None, url: str) -> None:
    assert ollama_endpoint(host, {}).url == url
    assert ollama_endpoint(None, {"OLLAMA_HOST": host or ""}).url == url


def test_a_given_host_goes_before_the_environment() -> None:
    assert ollama_endpoint("a:1", {"OLLAMA_HOST": "b:2"}).url == "http://a:1"


def test_credentials_become_a_header_and_leave_the_address() -> None:
    endpoint = ollama_endpoint("https://me:p%40ss@example.com", {})
    assert endpoint.url == "https://example.com:443"
    assert endpoint.headers == {"Authorization": "Basic bWU6cEBzcw=="}
    assert "Basic" not in repr(endpoint)
    keyed = ollama_endpoint(None, {"OLLAMA_API_KEY": "key"})
    assert keyed.headers == {"Authorization": "Bearer key"}


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:1", True),
        ("http://[::1]:1", True),
        ("http://localhost:1", True),
        ("http://10.0.0.1:1", False),
        ("https://example.com:443", False),
    ],
)
def test_loopback_is_never_asked_through_a_proxy(url: str, loopback: bool) -> None:
    assert Endpoint(url=url).is_loopback is loopback


def test_back_off_doubles_is_bounded_and_jitters_by_half() -> None:
    error = ModelError("x", transient=True)
    longest = RetryRules(tries=9, backoff=1.0, longest=5.0, draw=lambda: 1.0)
    assert [longest.pause(error, tries) for tries in range(1, 6)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert RetryRules(tries=9, backoff=1.0, draw=lambda: 0.0).pause(error, 1) == 0.5
    assert longest.pause(error, 9) is None


def test_only_passing_failures_are_tried_again_and_the_endpoint_says_when() -> None:
    assert RetryRules().pause(ModelError("x"), 1) is None
    assert RetryRules().pause(ModelError("x", transient=True, retry_after=42.0), 1) == 42.0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("3", 3.0),
        ("0.5", 0.5),
        ("-1", 0.0),
        ("Wed, 21 Oct 2026 07:28:10 GMT", 10.0),
        ("Wed, 21 Oct 2020 07:28:10 GMT", 0.0),
        ("Wed, 21 Oct 2026 07:28:10", 10.0),
        ("Wed, 21 Oct 2026 07:28:10 -0000", 10.0),
        ("soon", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(header: str | None, seconds: float | None) -> None:
    now = datetime(2026, 10, 21, 7, 28, 0, tzinfo=UTC)
    assert parse_retry_after(header, now) == seconds


def test_naming_models_imports_neither_langchain_nor_httpx() -> None:
    code = (
        "import sys; import ucop.agents.models.models; "
        "heavy = {'langchain_core', 'langchain_ollama', 'httpx', 'pydantic', 'xllamacpp'}; "
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
