"""LongLive-2.0: endless video from text, directed chunk by chunk. Importing it imports no torch."""

from __future__ import annotations

from typing import Any

from longlive.plug import LongLive
from longlive.presets import find
from models.contract import Model


def model(preset: str, **options: Any) -> Model:
    """The model `longlive-v2` in a preset with some of its `longlive.options` replaced; the entry point of the group
    `longlive_cluster.models`.

    Raises:
        ValueError: there is no such preset or option, or a value does not fit.
    """
    return LongLive(find(preset, **options))
