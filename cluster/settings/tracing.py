"""Where spans go, and of which sessions there are any."""

from __future__ import annotations

from pydantic import Field

from cluster.settings.group import Group


class TracingSettings(Group):
    """Spans for OpenTelemetry (`cluster/tracing.py`)."""

    endpoint: str | None = Field(default=None, pattern=r"^https?://")
    """Where spans go by OTLP over HTTP, the path included (`http://collector:4318/v1/traces`); None makes none."""
    share: float = Field(default=1.0, ge=0, le=1)
    """Of the sessions that are traced."""
