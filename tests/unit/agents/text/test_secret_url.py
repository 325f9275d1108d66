"""What a URL keeps to itself wherever it is shown."""

from __future__ import annotations

import pytest

from ucop.agents.text.secret_url import shown_url, with_password_in_front, without_url_secrets
from ucop.engine.errors import InvalidSettings
from ucop.engine.jobs.redaction import Redaction
from ucop.engine.project import absolute_url
from ucop.engine.settings import Settings

SHOWN = {
    "postgresql://me:hush@host/db": "postgresql://me:…@host/db",
    "postgresql://host/db?password=hush": "postgresql://host/db?password=…",
    "postgresql://host/db?user=me&password=hush&x=1": "postgresql://host/db?user=me&password=…&x=1",
    "postgresql://host/db?%70assword=hush": "postgresql://host/db?%70assword=…",
    "postgresql://host/db?sslpassword=hush": "postgresql://host/db?sslpassword=…",
    "postgresql://host/db?password=a%26hush": "postgresql://host/db?password=…",
    "postgresql://me:hu@sh@host/db": "postgresql://me:…@host/db",
    "postgresql://me:hu/sh@host/db": "postgresql://me:…@host/db",
    "postgresql://:hush@/db?host=/tmp": "postgresql://:…@/db?host=/tmp",
    "https://host/mcp?api_key=hush": "https://host/mcp?api_key=…",
    "https://host/mcp?access_token=hush": "https://host/mcp?access_token=…",
    "sqlite:////a@b.db": "sqlite:////a@b.db",
    "postgresql://me@host:5432/db?monkey=1": "postgresql://me@host:5432/db?monkey=1",
}


@pytest.mark.parametrize("url", SHOWN)
def test_passwords_are_hidden(url: str) -> None:
    assert shown_url(url) == SHOWN[url]


SAID = {
    ("postgresql://me:hu/sh@host/db", 'invalid integer value "hu" for option "port"'): (
        'invalid integer value "…" for option "port"'
    ),
    ("postgresql://host/db?password=hu%zz", 'invalid percent-encoded token: "hu%zz"'): (
        'invalid percent-encoded token: "…"'
    ),
    ("postgresql://me:hush@host/db", 'in URI: "postgresql://me:hush@host/db"'): (
        'in URI: "postgresql://me:…@host/db"'
    ),
    ("postgresql://me:a@hush@host/db", "failed to resolve host 'hush@host'"): (
        "failed to resolve host '…'"
    ),
    ("postgresql://me:hush@host/db", 'database "db" does not exist'): (
        'database "db" does not exist'
    ),
}


@pytest.mark.parametrize(("url", "said"), SAID)
def test_parts_of_a_password_are_hidden_in_what_is_said_of_its_url(url: str, said: str) -> None:
    assert without_url_secrets(said, url) == SAID[url, said]


def test_a_password_goes_where_libraries_hide_it() -> None:
    moved = with_password_in_front("postgresql://me@host/db?password=hu%2Fsh&sslmode=off")
    assert moved == "postgresql://me:hu%2Fsh@host/db?sslmode=off"
    assert with_password_in_front("postgresql:///db?%70assword=a") == "postgresql://:a@/db"
    for url in ("postgresql://me:a@host/db?x=1", "postgresql:///db", "postgresql://host/?p=1"):
        assert with_password_in_front(url) == url


def test_settings_and_their_errors_hide_it() -> None:
    assert "hush" not in repr(Settings(database="postgresql://me@host/db?password=hush"))
    with pytest.raises(InvalidSettings) as caught:
        Settings.load(database=["postgresql://host/db?password=hush"])
    assert "hush" not in str(caught.value)
    with pytest.raises(InvalidSettings) as caught:
        absolute_url("mysql://host/db?password=hush", Settings().root)
    assert "hush" not in str(caught.value)


def test_exports_hide_it() -> None:
    told = "cannot reach postgresql://host/db?password=hush&x=1"
    assert "hush" not in Redaction().text(told)
