"""What all groups of settings have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Group(BaseModel):
    """Settings that belong together: nothing unknown among them, and none that changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)
