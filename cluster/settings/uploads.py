"""What clients may upload, and how long it can be used."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cluster.settings.group import Group


class UploadSettings(Group):
    """Files that clients upload for commands. Times in seconds."""

    max_bytes: int = Field(default=25 * 2**20, ge=1024)
    """Largest file."""
    max_pixels: int = Field(default=40_000_000, ge=1, le=80_000_000)
    """Width times height of the largest picture."""
    types: frozenset[Literal["image/png", "image/jpeg", "image/webp", "image/gif", "text/plain"]] = frozenset(
        ("image/png", "image/jpeg", "image/webp")
    )
    """MIME types taken, as the bytes tell them; each has a check of its own."""
    slot_ttl_s: int = Field(default=600, ge=10)
    """How long an upload URL works, and how long its bytes may take."""
    ttl_s: int = Field(default=3600, ge=60)
    """How long a file can be used once it is there."""
    max_per_session: int = Field(default=32, ge=1)
    """Files of one session at a time."""
    max_per_command: int = Field(default=4, ge=1)
    wait_s: float = Field(default=8.0, gt=0)
    """How long a command waits for a file that is still on its way; clients wait 10 s for its reply."""
