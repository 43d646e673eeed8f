"""One settings tree. Precedence: arguments of `serve_config.yaml` > environment (`LLC_…`) > defaults.

Nested members are set as `LLC_MEDIA__BITRATE`; lists and pools as JSON. An unknown or malformed value stops
start-up with the variable's name.
"""

from __future__ import annotations

import os
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PoolSettings(_Group):
    """A pool of equal workers for one model."""

    model: str
    preset: str = "tiny"
    options: dict[str, str | bool | int | float] = {}
    """Options of the preset that shall differ from it, such as `weights`; each model has its own."""
    num_gpus: float = 0
    """GPUs of one worker; 0 runs the model on the CPU."""
    min_warm: int = Field(default=0, ge=0)
    """Workers kept loaded beyond those that hold a session."""
    max_workers: int = Field(default=1, ge=1)
    sessions_per_worker: int = Field(default=1, ge=1)

    @property
    def device(self) -> str:
        """Where a worker of this pool runs its model; Ray shows it its own GPUs alone, from 0 on."""
        return "cuda:0" if self.num_gpus else "cpu"


class MediaSettings(_Group):
    """Encoding, pacing and peers. Bitrates in bit/s."""

    bitrate: int = Field(default=4_000_000, ge=100_000)
    """Encoder rate at 1280×704 and 24 fps; smaller pictures are scaled by pixels per second, with a floor."""
    min_bitrate: int = Field(default=600_000, ge=50_000)
    ping_timeout_s: float = Field(default=20.0, gt=0)
    """A connection silent for this long is dropped; clients ping every 5 or 10 s."""


class TurnSettings(_Group):
    """STUN and TURN servers given to clients; credentials are minted per session with `secret` (TURN REST)."""

    uris: tuple[str, ...] = ()
    secret: SecretStr | None = None
    ttl_s: int = Field(default=3600, gt=0)


class LimitSettings(_Group):
    """Limits and timers, in seconds unless the name says otherwise."""

    max_queue: int = Field(default=256, ge=0)
    max_sessions_per_tenant: int = Field(default=100, ge=1)
    max_connections: int = Field(default=64, ge=1)
    """Connections of one session."""
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
    max_body_bytes: int = Field(default=1_048_576, ge=1024)
    sdp_answer_wait_s: float = Field(default=8.0, gt=0)
    """How long a poll for the SDP answer is held."""
    heartbeat_s: float = Field(default=1.0, gt=0)
    """Workers are pinged this often; three misses are a death."""


class Settings(BaseSettings):
    """The whole tree."""

    model_config = SettingsConfigDict(
        env_prefix="LLC_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    cluster: str = "longlive"
    """Name of this cluster in session objects, and prefix of its keys and actors."""
    redis_url: str | None = None
    """`LLC_REDIS_URL` or `REDIS_URL`; None starts an embedded server."""
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """Keys accepted from the start, for development; comma-separated in the environment."""
    jwt_secret: SecretStr | None = None
    pools: tuple[PoolSettings, ...] = (
        PoolSettings(model="longlive-v2", min_warm=1),
        PoolSettings(model="echo"),
    )
    media: MediaSettings = MediaSettings()
    turn: TurnSettings = TurnSettings()
    limits: LimitSettings = LimitSettings()
    metrics_port: int = Field(default=9400, ge=0, le=65_535)
    """First port tried for a worker's metrics; the next free one is taken, 0 turns the endpoint off."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_variables(cls, values: object) -> object:
        prefix = "LLC_"
        names = {name.upper() for name in cls.model_fields}
        unknown = [
            name
            for name in sorted(os.environ)
            if name.startswith(prefix) and name.removeprefix(prefix).partition("__")[0] not in names
        ]
        if unknown:
            raise ValueError(f"no such setting: {', '.join(unknown)}")
        return values

    @field_validator("api_keys", mode="before")
    @classmethod
    def _split_keys(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value
