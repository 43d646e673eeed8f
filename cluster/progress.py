"""How far a session is: its director, and its stream's state after the last chunk."""

from __future__ import annotations

import asyncio

from cluster.journal import Snapshot
from cluster.moderation.contents import contents_of
from cluster.moderation.screen import Screen
from cluster.seat import Seat
from models.contract import Director, Model


class Progress:
    """See the module. `name` is the model's; `director` is the session's own, in use."""

    def __init__(self, name: str, model: Model, director: Director, seat: Seat, screen: Screen | None) -> None:
        self._name = name
        self._model = model
        self._director = director
        self._seat = seat
        self._screen = screen
        self._stream = b""

    def due(self) -> bool:
        """Whether the director has something to generate. A copy is asked: to ask is to cross the boundary."""
        copy = self._model.director()
        copy.restore(self._director.snapshot())
        return copy.begin_chunk() is not None

    def completed(self, stream: bytes) -> None:
        """A chunk is complete, and this is the stream's state after it."""
        self._stream = stream

    def snapshot(self) -> Snapshot:
        """What another worker needs to go on from here."""
        return Snapshot(model=self._name, director=self._director.snapshot(), stream=self._stream)

    async def make_exact(self) -> None:
        """Have the stream's state as exact as there is in the next snapshot; between chunks."""
        if self._stream:
            self._stream = await self._seat.export()

    async def restore(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot.

        Raises:
            OtherVersion: it is good for another version of the worker.
            ValueError: it is another model's, or damaged.
            CommandRefused: what it holds is not allowed, or cannot be moderated now.
        """
        if snapshot.model != self._name:
            raise ValueError(f"a snapshot of {snapshot.model}, not of {self._name}")
        self._director.restore(snapshot.director)
        if self._screen is not None:
            await self._moderate(self._screen, snapshot.stream)
        self._stream = snapshot.stream
        if snapshot.stream:
            await self._seat.restore(snapshot.stream)

    async def _moderate(self, screen: Screen, stream: bytes) -> None:
        kept = await asyncio.to_thread(self._seat.stream.contents, stream) if stream else ()
        refused = await screen.check(contents_of([*self._director.contents(), *kept]), None)
        if refused is not None:
            raise refused
