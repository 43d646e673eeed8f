"""How much and how many at most, how long at most, and how often."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from cluster.settings.group import Group


class LimitSettings(Group):
    """Limits and timers, in seconds unless the name says otherwise."""

    max_queue: int = Field(default=256, ge=0)
    max_sessions_per_tenant: int = Field(default=100, ge=1)
    max_creations_per_minute: int = Field(default=120, ge=1)
    """Sessions that one account may create in any 60 s."""
    max_connections: int = Field(default=64, ge=1)
    """Connections of one session."""
    max_waiting_commands: int = Field(default=64, ge=1)
    """Commands of one connection that may wait behind one whose files are fetched."""
    max_session_s: int = Field(default=1200, ge=1, le=86_400)
    connect_grace_s: float = Field(default=60.0, gt=0)
    """How long a session waits for its first connection."""
    reconnect_grace_s: float = Field(default=60.0, gt=0)
    """How long a session survives its last connection."""
    queue_poll_grace_s: float = Field(default=45.0, gt=0)
    """A waiting session that nobody asks about for this long is closed; clients poll at most 10 s apart."""
    record_ttl_s: int = Field(default=3600, ge=60)
    """How long a closed session's record can still be read."""
    snapshot_ttl_s: int = Field(default=3600, ge=60)
    saved_ttl_s: int = Field(default=7 * 86_400, ge=60)
    """How long a snapshot that somebody has saved is kept."""
    max_saved_snapshots: int = Field(default=50, ge=0)
    """Of one account."""
    usage_ttl_s: int = Field(default=400 * 86_400, ge=2 * 86_400)
    """How long a day's usage is kept."""
    max_body_bytes: int = Field(default=1_048_576, ge=1024)
    sdp_answer_wait_s: float = Field(default=8.0, gt=0)
    """How long a poll for the SDP answer is held."""
    move_wait_s: float = Field(default=8.0, ge=0)
    """How long a client's call is held for a session that is between two workers."""
    heartbeat_s: float = Field(default=1.0, gt=0)
    """Workers are pinged this often; three misses are a death."""
    offload_after_s: float = Field(default=30.0, ge=0)
    """A session that is paused, or that nobody watches, leaves a device that it shares after this long."""
    integrity_s: float = Field(default=30.0, gt=0)
    """How often the allocator compares what it, the registry and the workers say."""

    @model_validator(mode="after")
    def _no_snapshot_outlives_its_session(self) -> Self:
        if self.snapshot_ttl_s > self.record_ttl_s:
            raise ValueError(f"snapshot_ttl_s is {self.snapshot_ttl_s}, and record_ttl_s {self.record_ttl_s}")
        return self
