"""Grants as the allocator gives them."""

from __future__ import annotations

from typing import Any

from cluster.records import Grant, SessionRecord
from wire.http import SessionState

FOR_EVER = 2e9


def granted(session_id: str = "s1", tenant: str = "key_tenant", *, deadline: float = FOR_EVER, **fields: Any) -> Grant:
    """A grant; keywords are fields of its record."""
    defaults = {"model": "echo", "state": SessionState.PENDING, "created_at": 0.0, "max_duration_s": 60, "epoch": 1}
    return Grant(record=SessionRecord(session_id=session_id, tenant=tenant, **(defaults | fields)), deadline=deadline)
