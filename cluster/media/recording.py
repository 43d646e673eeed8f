"""A recording's files on the worker's disk: initialisation, segments and the sidecar, within a window and a budget.

    init.mp4    chunk_00000.m4s …    events.jsonl

Files are written and read in threads; what there is, is known in the loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from cluster.clips import Segment
from cluster.errors import ClipGone
from cluster.media.cmaf import Cmaf
from cluster.settings import RecordingSettings
from wire.playlist import EVENTS_NAME, INIT_NAME, segment_name


class Recording:
    """Use it inside the running loop, from one task at a time. Methods raise OSError."""

    def __init__(self, folder: Path, settings: RecordingSettings) -> None:
        self.folder = folder
        self.segments: deque[Segment] = deque()
        self.keep_all = settings.keep == "whole"
        """Whether the beginning is kept for as long as the budget allows, beyond the window for clips."""
        self._window_s = settings.window_s
        self._budget = settings.max_bytes
        self._bytes = 0
        self._number = 0

    @property
    def number(self) -> int:
        """Of the next segment."""
        return self._number

    async def add(self, cmaf: Cmaf, start_s: float, duration_s: float) -> None:
        """Keep a segment; the oldest ones make way for it."""
        await asyncio.to_thread(self._write, cmaf)
        size = len(cmaf.fragment)
        self.segments.append(Segment(number=self._number, start_s=start_s, duration_s=duration_s, size=size))
        self._number += 1
        self._bytes += size
        if gone := self._overdue():
            await asyncio.to_thread(_unlink, [self.folder / segment_name(each.number) for each in gone])

    async def add_events(self, lines: Sequence[bytes]) -> None:
        """Append lines to the sidecar; whoever writes them bounds them."""
        if lines:
            await asyncio.to_thread(self._append, b"".join(lines))

    def files(self) -> dict[str, Path]:
        """Every file by its name."""
        names = [INIT_NAME, EVENTS_NAME, *(segment_name(each.number) for each in self.segments)]
        return {name: self.folder / name for name in names}

    def written(self) -> dict[str, Path]:
        """Those that are there, by their names. Looks at the disk."""
        return {name: path for name, path in self.files().items() if path.exists()}

    async def read(self, name: str) -> bytes:
        """A file by its name; raises ClipGone."""
        path = self.files().get(name)
        try:
            if path is not None:
                return await asyncio.to_thread(path.read_bytes)
        except FileNotFoundError:
            pass
        raise ClipGone("this part of the recording is no longer kept")

    def _overdue(self) -> list[Segment]:
        """The segments to be forgotten: beyond the budget, or before the window."""
        gone = []
        while len(self.segments) > 1 and (self._bytes > self._budget or self._before_window()):
            gone.append(self.segments.popleft())
            self._bytes -= gone[-1].size
        return gone

    def _before_window(self) -> bool:
        return not self.keep_all and self.segments[-1].end_s - self.segments[0].end_s >= self._window_s

    def _write(self, cmaf: Cmaf) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self._number:
            (self.folder / INIT_NAME).write_bytes(cmaf.init)
        (self.folder / segment_name(self._number)).write_bytes(cmaf.fragment)

    def _append(self, data: bytes) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.folder / EVENTS_NAME).open("ab") as file:
            file.write(data)


def _unlink(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
