"""The database as the screens use it: read and changed on threads, opened anew when it breaks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from ucop.engine.database.changes import Ear, open_ear
from ucop.engine.errors import DatabaseError
from ucop.engine.project import project_database
from ucop.engine.reading.reader import Reader, open_reader

if TYPE_CHECKING:
    from ucop.engine import Engine

    from ..view.place import Place

T = TypeVar("T")


class Source:
    """Blocks, and is to be called from threads that may."""

    def __init__(self, place: Place) -> None:
        """Raises InvalidSettings; opens nothing."""
        self.place = place
        self.url = project_database(place.project, place.database).url
        # One each: to open an engine takes seconds, in which reading goes on.
        self._reading, self._acting = threading.Lock(), threading.Lock()
        self._reader: Reader | None = None
        self._engine: Engine | None = None
        self._ear: Ear | None = None

    def read(self, ask: Callable[[Reader], T]) -> T:
        """Ask the ledger. Raises DatabaseError, NoDatabase among them, and what `ask` raises."""
        with self._reading:
            if self._reader is None:
                self._reader = open_reader(self.url)
            reader = self._reader
        try:
            return ask(reader)
        except DatabaseError:
            self._drop_reader(reader)
            raise

    def act(self, do: Callable[[Engine], T]) -> T:
        """Change something. Raises UcopError."""
        with self._acting:
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
        if self._reader is not None:
            self._drop_reader(self._reader)
        if self._ear is not None:
            self._ear.close()
            self._ear = None
        with self._acting:
            if self._engine is not None:
                self._engine.close()
                self._engine = None

    close = reset

    def _drop_reader(self, reader: Reader) -> None:
        with self._reading:
            if self._reader is reader:
                self._reader = None
        reader.close()
