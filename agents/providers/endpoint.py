"""Where an Ollama answers: an address, and how to show it without its secrets."""

from __future__ import annotations

import base64
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

DEFAULT_PORT = 11434
_SCHEME_PORTS = {"http": 80, "https": 443}
# What a server binds to is not what a client can always connect to.
_UNSPECIFIED = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """An HTTP address without credentials, and the headers that carry them."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def is_loopback(self) -> bool:
        """True if a proxy from the environment must not be asked."""
        host = urlsplit(self.url).hostname or ""
        if host == "localhost":
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False


def ollama_endpoint(
    host: str | None = None, environment: Mapping[str, str] = os.environ
) -> Endpoint:
    """The endpoint that `host`, else OLLAMA_HOST, else Ollama's default names.

    Takes every form Ollama itself takes: host, host:port, :port, scheme://host, IPv6 in
    brackets, a path, credentials before an @; 0.0.0.0 is asked as 127.0.0.1.
    """
    text = (host or environment.get("OLLAMA_HOST") or "").strip().strip("\"'").strip()
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "http", text
    default_port = _SCHEME_PORTS.get(scheme.lower(), DEFAULT_PORT) if separator else DEFAULT_PORT
    parts = urlsplit(f"//{rest}")
    name = parts.hostname or "127.0.0.1"
    name = _UNSPECIFIED.get(name, name)
    if ":" in name:
        name = f"[{name}]"
    url = f"{scheme.lower()}://{name}:{_port(parts.netloc, default_port)}{parts.path.rstrip('/')}"
    return Endpoint(url=url, headers=_credentials(parts.username, parts.password, environment))


def with_tag(model: str) -> str:
    """The full name of an Ollama's model, whose tag is `latest` unless it is named."""
    return model if ":" in model.rpartition("/")[2] else f"{model}:latest"


def _port(netloc: str, default: int) -> int:
    """The port of `host:port`; like Ollama, the default where it is no port number."""
    try:
        port = urlsplit(f"//{netloc}").port
    except ValueError:
        return default
    return default if port is None else port


def _credentials(
    user: str | None, password: str | None, environment: Mapping[str, str]
) -> dict[str, str]:
    if user is not None:
        pair = f"{unquote(user)}:{unquote(password or '')}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
    if key := environment.get("OLLAMA_API_KEY"):
        return {"Authorization": f"Bearer {key}"}
    return {}
