"""The most that was seen of something in the last while."""

from __future__ import annotations

from collections import deque


class Peak:
    """A sliding maximum: of what was noted, the rising past is forgotten, so that the first left is the largest."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._noted: deque[tuple[float, int]] = deque()

    def note(self, value: int, now: float) -> int:
        """It is so much now; the most of the last `window_s` seconds."""
        while self._noted and self._noted[-1][1] <= value:
            self._noted.pop()
        self._noted.append((now, value))
        while self._noted[0][0] < now - self._window_s:
            self._noted.popleft()
        return self._noted[0][1]
