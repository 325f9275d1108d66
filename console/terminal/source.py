"""The database as the screens use it: read and changed on threads, opened anew when it breaks."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from ucop.engine.ear import Ear, open_ear
from ucop.engine.errors import DatabaseError
from ucop.engine.project import database_url
from ucop.engine.reader import Reader, open_reader

if TYPE_CHECKING:
    from ucop.console.cli.place import Place
    from ucop.engine import Engine

T = TypeVar("T")


class Source:
    """Blocks, and is to be called from threads that may."""

    def __init__(self, place: Place) -> None:
        """Raises InvalidSettings; opens nothing."""
        self.place = place
        self.url = database_url(place.project, place.database)
        self._lock = threading.Lock()
        self._reader: Reader | None = None
        self._engine: Engine | None = None
        self._ear: Ear | None = None

    def read(self, ask: Callable[[Reader], T]) -> T:
        """Ask the ledger. Raises DatabaseError, NoDatabase among them, and what `ask` raises."""
        with self._lock:
            if self._reader is None:
                self._reader = open_reader(self.url)
            reader = self._reader
        return ask(reader)

    def act(self, do: Callable[[Engine], T]) -> T:
        """Change something. Raises UcopError."""
        with self._lock:
            if self._engine is None:
                from ucop.engine import Engine

                # Without a worker, and without the project's workflows until one is needed: what
                # is broken there must not keep anyone from cancelling.
                self._engine = Engine(settings=self.place.settings, worker=False)
            engine = self._engine
        return do(engine)

    def hear(self, wait: float) -> bool:
        """Whether somebody wrote, waiting up to `wait` seconds for it. Raises DatabaseError."""
        if self._ear is None:
            self._ear = open_ear(self.url)
            return True
        return self._ear.hear(wait)

    def reset(self) -> None:
        """Let go of a database that broke or went away; the next call opens it anew."""
        with self._lock:
            for part in (self._reader, self._ear, self._engine):
                if part is not None:
                    with contextlib.suppress(DatabaseError):
                        part.close()
            self._reader = self._engine = self._ear = None

    close = reset
