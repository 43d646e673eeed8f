"""The GPUs. A worker that was asked for waits for one, loads, and gives it back when it ends."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class Hosts:
    """As many as the pool may have workers. `begin` is called with the name of a worker that has got one."""

    def __init__(self, count: int, begin: Callable[[str], None]) -> None:
        self.count = count
        self.free = count
        self._begin = begin
        self._pending: deque[str] = deque()
        self._cancelled: set[str] = set()

    def ask(self, name: str) -> None:
        """First come, first served."""
        self._pending.append(name)
        self._assign()

    def withdraw(self, name: str) -> None:
        """A worker that still waits for one needs none."""
        self._cancelled.add(name)

    def give_back(self) -> None:
        """A worker has ended."""
        self.free += 1
        assert self.free <= self.count, "a GPU was given back twice"
        self._assign()

    def _assign(self) -> None:
        while self.free and self._pending:
            name = self._pending.popleft()
            if name in self._cancelled:
                self._cancelled.discard(name)
                continue
            self.free -= 1
            self._begin(name)
