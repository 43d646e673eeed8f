"""Sessions followed by many listeners with one look at the cluster for all of them.

A listener gets the session as it is, and then whenever something of it changes, until it is over. While anybody
listens, one task looks at all followed sessions, some at a time, and rests for `interval_s`; each listener keeps the
newest view only, so a slow one misses steps on the way and never the end.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from itertools import islice

from cluster.errors import NotFound, Unavailable
from cluster.tasks import Tasks
from wire.http import Session, SessionState

INTERVAL_S = 0.5
AT_ONCE = 100
"""Sessions that are looked at, and whose listeners are told, in one go."""
PAUSE_S = 0.01
"""Between two of these: the requests of others go in between."""
OVER = frozenset({SessionState.CLOSED, SessionState.INACTIVE})

Key = tuple[str, str]
"""Tenant and session id."""


@dataclass(frozen=True, slots=True)
class View:
    """A session as its account may see it; `moves` counts the workers that it has lost."""

    session: Session
    moves: int


class Watch:
    """`look` gives the views of those of the followed sessions that exist; it may raise Unavailable."""

    def __init__(
        self,
        look: Callable[[Collection[Key]], Awaitable[Mapping[Key, View]]],
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._look = look
        self._interval_s = interval_s
        self._listeners: defaultdict[Key, set[_Listener]] = defaultdict(set)
        self._tasks = Tasks("watch")
        self._task: asyncio.Task[None] | None = None

    async def follow(self, key: Key) -> AsyncIterator[View]:
        """Views of a session, the present one first; they end with the session. Raises NotFound, Unavailable."""
        view = (await self._look([key])).get(key)
        if view is None:
            raise NotFound(f"no session {key[1]}")
        return self._views(key, view)

    async def _views(self, key: Key, first: View) -> AsyncIterator[View]:
        listener = _Listener(first)
        self._listeners[key].add(listener)
        self._run()
        try:
            view: View | None = first
            while view is not None:
                yield view
                view = None if view.session.state in OVER else await listener.next()
        finally:
            self._forget(key, listener)

    async def close(self) -> None:
        """End the task."""
        await self._tasks.close()

    @property
    def listeners(self) -> int:
        """How many there are."""
        return sum(map(len, self._listeners.values()))

    def _run(self) -> None:
        if self._task is None or self._task.done():
            self._task = self._tasks.start(self._watch())

    async def _watch(self) -> None:
        while self._listeners:
            await asyncio.sleep(self._interval_s)
            followed = iter(list(self._listeners))
            while keys := list(islice(followed, AT_ONCE)):
                await self._look_at(keys)
                await asyncio.sleep(PAUSE_S)

    async def _look_at(self, keys: Collection[Key]) -> None:
        try:
            views = await self._look(keys)
        except Unavailable:
            return  # it will be back; until then nothing is known to have changed
        for key in keys:
            for listener in self._listeners.get(key, ()):
                listener.tell(views.get(key))

    def _forget(self, key: Key, listener: _Listener) -> None:
        self._listeners[key].discard(listener)
        if not self._listeners[key]:
            del self._listeners[key]


class _Listener:
    """The newest view that differs from the one taken last; None once the session is gone."""

    def __init__(self, view: View) -> None:
        self._taken: View | None = view
        self._newest: View | None = view
        self._news = asyncio.Event()

    def tell(self, view: View | None) -> None:
        self._newest = view
        if view != self._taken:
            self._news.set()

    async def next(self) -> View | None:
        await self._news.wait()
        self._news.clear()
        self._taken = self._newest
        return self._taken
