"""What is recorded, and how long it is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from cluster.settings.group import Group


class RecordingSettings(Group):
    """Recordings of sessions, for clips and as a whole. Times in seconds."""

    keep: Literal["off", "clips", "whole"] = "off"
    """What is recorded: nothing, as much as clips can be made of, or all."""
    folder: Path | None = None
    """Where workers keep the recordings of open sessions; None is below the system's folder for temporary files."""
    window_s: int = Field(default=300, ge=4, le=3600)
    """Longest clip."""
    max_bytes: int = Field(default=2 * 2**30, ge=2**20)
    """Of one session's recording on disk; then its beginning makes way."""
    retention_s: int = Field(default=86_400, ge=60)
    """How long a recording is kept in the storage when its session is over."""
    link_ttl_s: int = Field(default=3600, ge=60)
    """How long the segments' URLs in a playlist work."""
