"""The pictures of the comparison as an application of `reactor-runtime`. Runs in its environment, not in ours."""

from __future__ import annotations

from pathlib import Path

from reactor_runtime import InputState, Output, ReactorApp, Video

from benchmarks.peers.pictures import FPS, picture


class Nothing(InputState):
    """There is nothing to set."""


class Pictures(Output):
    """The one track."""

    main_video: Video


class Numbered(ReactorApp):
    """One picture a step; the runtime holds the steps back to the rate."""

    state: Nothing
    fps = FPS

    def load(self, config_path: Path | None) -> None:
        """Make the loop of pictures."""
        picture(0)
        self._number = 0

    def generate(self, input: Nothing) -> Pictures:  # noqa: A002 - the runtime's name
        """The next picture."""
        self._number += 1
        return Pictures(main_video=picture(self._number))
