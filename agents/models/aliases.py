"""Names of models: `provider:model`, and aliases that stand for one, or for a chain of them.

Pure: providers say who really serves a name (provider.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ..embedded import EMBEDDED_MODEL
from ..errors import ModelUnavailable

DEFAULT_ALIAS = "default"
DEFAULT_MODEL = "ollama:llama3.2"
EMBEDDED = "embedded"


class Aliases:
    """The project's aliases, and `default`, which every project has."""

    def __init__(self, given: Mapping[str, str | Sequence[str]] | None = None) -> None:
        self._given = {DEFAULT_ALIAS: DEFAULT_MODEL, **(given or {})}

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def candidates(self, name: str | None) -> tuple[str, ...]:
        """The `provider:model` names that `name` stands for, in order of preference.

        Raises ModelUnavailable for an unknown alias and for aliases that lead in a circle.
        """
        return tuple(dict.fromkeys(self._expand(name or DEFAULT_ALIAS, ())))

    def _expand(self, name: str, seen: tuple[str, ...]) -> list[str]:
        if name in seen:
            circle = " → ".join((*seen, name))
            raise ModelUnavailable(
                f"model alias {name!r} leads back to itself: {circle}. "
                "Change [models] in the project's settings.",
                reached=False,
            )
        meaning = self._given.get(name)
        if meaning is None:
            return [self._full_name(name)]
        links = [meaning] if isinstance(meaning, str) else list(meaning)
        return [found for link in links for found in self._expand(link, (*seen, name))]

    def _full_name(self, name: str) -> str:
        if name == EMBEDDED:
            return f"{EMBEDDED}:{EMBEDDED_MODEL}"
        if ":" not in name:
            known = ", ".join(sorted(self._given))
            raise ModelUnavailable(
                f"no model alias {name!r}; known: {known}. Write `provider:model` "
                f"(such as ollama:{name}), or add {name} to [models] in the project's settings.",
                reached=False,
            )
        return name
