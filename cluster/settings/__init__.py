"""One settings tree. Precedence: arguments of `serve_config.yaml` > environment (`LLC_…`) > defaults.

Nested members are set as `LLC_MEDIA__BITRATE`; lists and pools as JSON. An unknown or malformed value stops
start-up with the variable's name.

Each group of the tree has a file of its own; `group` is what all of them are, `checks` what several of them check.
"""

from __future__ import annotations

import os
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from cluster.settings.auth import OWN_ISSUER, AuthSettings, IssuerSettings
from cluster.settings.checks import check_secret
from cluster.settings.limits import LimitSettings
from cluster.settings.media import MediaSettings
from cluster.settings.moderation import ModerationSettings, webhook_key
from cluster.settings.pools import PoolSettings
from cluster.settings.recording import RecordingSettings
from cluster.settings.storage import StorageSettings
from cluster.settings.tracing import TracingSettings
from cluster.settings.turn import TurnSettings
from cluster.settings.uploads import UploadSettings

__all__ = [
    "OWN_ISSUER",
    "AuthSettings",
    "IssuerSettings",
    "LimitSettings",
    "MediaSettings",
    "ModerationSettings",
    "PoolSettings",
    "RecordingSettings",
    "Settings",
    "StorageSettings",
    "TracingSettings",
    "TurnSettings",
    "UploadSettings",
    "webhook_key",
]


class Settings(BaseSettings):
    """The whole tree."""

    model_config = SettingsConfigDict(
        env_prefix="LLC_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
        hide_input_in_errors=True,  # some inputs are keys
    )

    cluster: str = "longlive"
    """Name of this cluster in session objects, and prefix of its keys and actors."""
    generation: int = Field(default=0, ge=0)
    """Raise it to roll workers: those of an older one take nothing new and leave as they idle."""
    redis_url: str | None = Field(default=None, min_length=1)
    """`LLC_REDIS_URL` or `REDIS_URL`; None starts an embedded server."""
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """Keys accepted from the start, for development; comma-separated in the environment."""
    jwt_secret: SecretStr | None = None
    pools: tuple[PoolSettings, ...] = (
        PoolSettings(model="longlive-v2", min_warm=1),
        PoolSettings(model="echo"),
    )
    media: MediaSettings = MediaSettings()
    auth: AuthSettings = AuthSettings()
    turn: TurnSettings = TurnSettings()
    storage: StorageSettings = StorageSettings()
    uploads: UploadSettings = UploadSettings()
    recording: RecordingSettings = RecordingSettings()
    tracing: TracingSettings = TracingSettings()
    moderation: ModerationSettings = ModerationSettings()
    limits: LimitSettings = LimitSettings()
    metrics_port: int = Field(default=9400, ge=0, le=65_535)
    """First port tried for the metrics of a process; the next free one is taken, 0 turns them off."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"

    @property
    def given_redis(self) -> str | None:
        """The URL of a Redis that outlives the cluster; None: an embedded one is used."""
        return self.redis_url or os.environ.get("REDIS_URL")

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

    @field_validator("pools")
    @classmethod
    def _one_of_each_model(cls, pools: tuple[PoolSettings, ...]) -> tuple[PoolSettings, ...]:
        models = [pool.model for pool in pools]
        if twice := {model for model in models if models.count(model) > 1}:
            raise ValueError(f"more than one pool of {', '.join(sorted(twice))}: a model has one")
        return pools

    @model_validator(mode="after")
    def _a_port_for_each_connection(self) -> Self:
        ports, connections = self.media.port_range, self.limits.max_connections
        sessions = max((pool.sessions_per_worker for pool in self.pools), default=1)
        if ports is not None and len(ports) < sessions * connections:
            raise ValueError(
                f"LLC_MEDIA__PORTS has {len(ports)} ports, and a worker may have {sessions} sessions of"
                f" LLC_LIMITS__MAX_CONNECTIONS, {connections}: each connection needs a port of its own"
            )
        return self

    @field_validator("jwt_secret")
    @classmethod
    def _long_enough(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None:
            check_secret(secret)
        return secret

    @field_validator("api_keys", mode="before")
    @classmethod
    def _split_keys(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value
