"""Which chunk lives in which slot of the window: a pure table, in lockstep for all layers of a stream.

At most four chunks are visible, the current one included. When a fifth arrives, the oldest goes that is neither chunk 0
(the identity of the whole scene) nor the pinned chunk (the identity of the present shot). Slots fill from the front, so
the visible ones are always a prefix of the buffer, and the order inside does not matter to attention.
"""

from __future__ import annotations

from collections.abc import Sequence

SLOTS = 4


class SlotTable:
    """Chunks by slot. A reset makes a new table; `chunks` and `pinned` restore one."""

    def __init__(self, slots: int = SLOTS, chunks: Sequence[int] = (), pinned: int | None = None) -> None:
        self._slots = slots
        self._chunks = list(chunks)
        self._pinned = pinned

    @property
    def chunks(self) -> tuple[int, ...]:
        """The chunk in each filled slot."""
        return tuple(self._chunks)

    @property
    def pinned(self) -> int | None:
        """The chunk that anchors the present shot; None in the first."""
        return self._pinned

    def enter(self, chunk: int) -> int:
        """Give the next chunk a slot, evicting if all are taken; returns the slot."""
        expected = self._chunks[self._newest()] + 1 if self._chunks else 0
        assert chunk == expected, f"chunk {chunk} cannot follow chunk {expected - 1}"
        if len(self._chunks) < self._slots:
            self._chunks.append(chunk)
        else:
            self._chunks[self._victim()] = chunk
        return self._chunks.index(chunk)

    def pin(self, chunk: int) -> None:
        """Make `chunk` the anchor of its shot; the former anchor becomes an ordinary chunk."""
        assert chunk in self._chunks, f"chunk {chunk} is not in the window"
        self._pinned = chunk

    def _newest(self) -> int:
        return self._chunks.index(max(self._chunks))

    def _victim(self) -> int:
        return self._chunks.index(min(chunk for chunk in self._chunks if chunk not in (0, self._pinned)))
