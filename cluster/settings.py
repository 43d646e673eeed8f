"""One settings tree. Precedence: arguments of `serve_config.yaml` > environment (`LLC_…`) > defaults.

Nested members are set as `LLC_MEDIA__BITRATE`; lists and pools as JSON. An unknown or malformed value stops
start-up with the variable's name.
"""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from cluster import pem
from cluster.moderation.denylist import DenyList
from cluster.records import PriorityClass

OWN_ISSUER = "longlive-cluster/"
"""Beginning of the `iss` of every cluster's own tokens."""
MIN_SECRET_BYTES = 32
"""Of an HS256 secret: RFC 7518, section 3.2."""
_HOST = r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?"
_ICE_URI = re.compile(rf"stuns?:{_HOST}|turns?:{_HOST}(?:\?transport=(?:udp|tcp))?")
_LOOPBACK = {("http", "localhost"), ("http", "127.0.0.1"), ("http", "::1")}


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
    resources: dict[str, float] = {}
    """Custom resources of Ray that one worker takes: it is placed on nodes that offer them, and on no others."""
    min_warm: int = Field(default=0, ge=0)
    """Workers kept loaded beyond those that hold a session."""
    idle_s: float = Field(default=60.0, ge=0)
    """A worker is let go once it was not wanted for so long; about what loading takes is a good measure."""
    max_workers: int = Field(default=1, ge=1)
    sessions_per_worker: int = Field(default=1, ge=1)
    """Sessions that a worker holds at most; of those that do not rest no more than its device keeps in time."""
    max_load: float = Field(default=0.9, gt=0, lt=1)
    """Share of a worker's device that the chunks of several sessions may take, by what they were measured to."""
    max_queue: int | None = Field(default=None, ge=0)
    """Waiting sessions of this model; None leaves `LLC_LIMITS__MAX_QUEUE`."""

    @model_validator(mode="after")
    def _has_room_for_what_is_warm(self) -> Self:
        if self.min_warm > self.max_workers:
            raise ValueError(f"min_warm is {self.min_warm}, and max_workers {self.max_workers}")
        return self

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

    @model_validator(mode="after")
    def _least_and_most(self) -> Self:
        if self.min_bitrate > self.bitrate:
            raise ValueError(f"min_bitrate is {self.min_bitrate}, and bitrate {self.bitrate}")
        return self


class TurnSettings(_Group):
    """STUN and TURN servers given to clients; credentials are minted per session with `secret` (TURN REST)."""

    uris: tuple[str, ...] = ()
    """`stun:`, `stuns:` (RFC 7064), `turn:`, `turns:`, with `?transport=udp` or `tcp` (RFC 7065)."""
    secret: SecretStr | None = None
    """What the TURN server knows as `static-auth-secret`."""
    ttl_s: int = Field(default=3600, gt=0)
    """How long credentials are good for a new relay; one in use goes on."""

    @field_validator("uris")
    @classmethod
    def _are_ice_uris(cls, uris: tuple[str, ...]) -> tuple[str, ...]:
        for number, uri in enumerate(uris, 1):
            if not _ICE_URI.fullmatch(uri):
                raise ValueError(f"number {number} is no such URI as turn:turn.example.org:3478?transport=udp")
        return uris

    @field_validator("secret")
    @classmethod
    def _is_long(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None:
            _check_secret(secret)
        return secret

    @model_validator(mode="after")
    def _relays_have_a_secret(self) -> Self:
        if self.secret is None and any(uri.startswith("turn") for uri in self.uris):
            raise ValueError("a turn: or turns: URI needs the secret: browsers take no relay without credentials")
        return self


class IssuerSettings(_Group):
    """An identity provider whose tokens are accepted as they are."""

    issuer: str = Field(min_length=1)
    """The `iss` of its tokens, character by character."""
    jwks_url: str
    """Where its public keys are; https, or http on this machine."""
    audience: str = Field(min_length=1)
    """What `aud` must be or contain."""
    priority: PriorityClass = PriorityClass.NORMAL
    """Class of its subjects' sessions where they wait."""

    @field_validator("issuer")
    @classmethod
    def _not_ours(cls, issuer: str) -> str:
        if issuer.startswith(OWN_ISSUER):
            raise ValueError(f"{OWN_ISSUER}… are this software's own")
        return issuer

    @field_validator("jwks_url")
    @classmethod
    def _protected(cls, url: str) -> str:
        if not _is_protected(url):
            raise ValueError("not an https URL: whoever can change the keys on their way can sign tokens")
        return url


class AuthSettings(_Group):
    """What signs tokens, whose tokens are accepted, and how wrong API keys are slowed down."""

    signing_key: SecretStr | None = None
    """Private key in PEM (RSA: RS256, P-256: ES256); None signs HS256 with `jwt_secret`."""
    verification_keys: tuple[str, ...] = ()
    """Public keys in PEM that verify beside the signing key: the one before it, or the one after it."""
    retired_secrets: tuple[SecretStr, ...] = ()
    """HS256 secrets that still verify and no longer sign."""
    issuers: tuple[IssuerSettings, ...] = ()
    jwks_ttl_s: int = Field(default=300, ge=1)
    """How long an issuer's keys are used before they are asked for again."""
    key_failures: int = Field(default=10, ge=1)
    """Wrong API keys from one address, or with one beginning, in a window."""
    key_failure_window_s: int = Field(default=60, ge=1)

    @field_validator("signing_key")
    @classmethod
    def _is_private(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None:
            pem.private_key(key.get_secret_value())
        return key

    @field_validator("verification_keys")
    @classmethod
    def _are_public(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        for key in keys:
            pem.public_key(key)
        return keys

    @field_validator("retired_secrets")
    @classmethod
    def _are_long(cls, secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for secret in secrets:
            _check_secret(secret)
        return secrets

    @field_validator("issuers")
    @classmethod
    def _are_different(cls, issuers: tuple[IssuerSettings, ...]) -> tuple[IssuerSettings, ...]:
        if len({each.issuer for each in issuers}) < len(issuers):
            raise ValueError("an issuer is there twice")
        return issuers


def _is_protected(url: str) -> bool:
    parts = urlsplit(url)
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme, parts.hostname) in _LOOPBACK)


def _check_secret(secret: SecretStr) -> None:
    if len(secret.get_secret_value().encode()) < MIN_SECRET_BYTES:
        raise ValueError(f"shorter than {MIN_SECRET_BYTES} bytes: whatever it signs would let it be guessed")


class StorageSettings(_Group):
    """Where files are kept. Without a bucket it is a folder, which gateways and workers must share."""

    folder: Path | None = None
    """None: one of this cluster and user below the system's folder for temporary files."""
    s3_bucket: str | None = Field(default=None, min_length=3)
    """Bucket of an S3-compatible object store, which must exist; needs the extra `s3`."""
    s3_prefix: str = "longlive-cluster"
    s3_endpoint: str | None = None
    """URL of the object store; None is Amazon's."""
    s3_region: str | None = None

    @model_validator(mode="after")
    def _of_a_bucket(self) -> Self:
        if self.s3_bucket is None and (self.s3_endpoint or self.s3_region):
            raise ValueError("s3_endpoint and s3_region are those of an s3_bucket, and there is none")
        return self


class UploadSettings(_Group):
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


class TracingSettings(_Group):
    """Spans for OpenTelemetry (`cluster/tracing.py`)."""

    endpoint: str | None = Field(default=None, pattern=r"^https?://")
    """Where spans go by OTLP over HTTP, the path included (`http://collector:4318/v1/traces`); None makes none."""
    share: float = Field(default=1.0, ge=0, le=1)
    """Of the sessions that are traced."""


class RecordingSettings(_Group):
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


class ModerationSettings(_Group):
    """Who looks at what clients say and show before the model sees it. Nobody, unless a list or a URL is set."""

    deny_list: Path | None = None
    """File of words and patterns, the same on every worker (`cluster.moderation.denylist`); asked first."""
    webhook_url: str | None = None
    """A service of the operator's (`cluster.moderation.webhook`); https, or http on this machine."""
    webhook_secret: SecretStr | None = None
    """What requests to it are signed with: `whsec_` and 32 bytes or more in base64."""
    timeout_s: float = Field(default=2.0, gt=0, le=10)
    """How long the service may take at each attempt; clients wait 10 s for the reply to a command."""
    attempts: int = Field(default=3, ge=1, le=10)
    fail: Literal["closed", "open"] = "closed"
    """What becomes of a content when the service does not answer: it is refused, or passes unseen."""
    max_warnings: int = Field(default=10, ge=0)
    """The next one ends the session."""
    cache_ttl_s: int = Field(default=300, ge=0)
    """How long a verdict on equal contents of an account is used again, in seconds."""

    @field_validator("deny_list")
    @classmethod
    def _is_a_list(cls, path: Path | None) -> Path | None:
        if path is not None:
            DenyList.read(path)
        return path

    @field_validator("webhook_url")
    @classmethod
    def _is_private(cls, url: str | None) -> str | None:
        if url is not None and not _is_protected(url):
            raise ValueError("not an https URL: prompts would be read, and verdicts made, on the way")
        return url

    @field_validator("webhook_secret")
    @classmethod
    def _is_a_key(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None:
            webhook_key(secret.get_secret_value())
        return secret

    @model_validator(mode="after")
    def _requests_are_signed(self) -> Self:
        if self.webhook_url is not None and self.webhook_secret is None:
            raise ValueError("a webhook needs the secret: the service must know who asks")
        return self


def webhook_key(secret: str) -> bytes:
    """The bytes of a secret as Standard Webhooks writes it. Raises ValueError, which tells nothing of it."""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        key = b""
    if not secret.startswith("whsec_") or len(key) < MIN_SECRET_BYTES:
        raise ValueError(f"not whsec_ and {MIN_SECRET_BYTES} bytes or more in base64")
    return key


class LimitSettings(_Group):
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
    auth: AuthSettings = AuthSettings()
    turn: TurnSettings = TurnSettings()
    storage: StorageSettings = StorageSettings()
    uploads: UploadSettings = UploadSettings()
    recording: RecordingSettings = RecordingSettings()
    tracing: TracingSettings = TracingSettings()
    moderation: ModerationSettings = ModerationSettings()
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

    @field_validator("pools")
    @classmethod
    def _one_of_each_model(cls, pools: tuple[PoolSettings, ...]) -> tuple[PoolSettings, ...]:
        models = [pool.model for pool in pools]
        if twice := {model for model in models if models.count(model) > 1}:
            raise ValueError(f"more than one pool of {', '.join(sorted(twice))}: a model has one")
        return pools

    @field_validator("jwt_secret")
    @classmethod
    def _long_enough(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None:
            _check_secret(secret)
        return secret

    @field_validator("api_keys", mode="before")
    @classmethod
    def _split_keys(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value
