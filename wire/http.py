"""HTTP bodies of the coordinator and of the signalling endpoints. Snake case, unknown members ignored on input.

Shapes and status codes are those the published clients were seen to send and to accept.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

TOKEN_LIFETIME_MAX_S = 21_600
SESSION_DURATION_MAX_S = 86_400


class Body(BaseModel):
    """Base of every body: unknown members are ignored, as the clients of different ages add their own."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class ErrorBody(Body):
    """Every error answer. `code` is stable, `detail` is for people."""

    detail: str
    code: str


# --- tokens ---------------------------------------------------------------------------------------------------------


class ModelScope(Body):
    """Which models a token may open sessions on: `match` lists slugs, `all` opens every one."""

    match: list[str] | None = None
    all: bool | None = None


class SessionScope(Body):
    """Which existing sessions a token may operate."""

    bind: list[str]


class TokenResources(Body):
    """What an authorisation detail covers."""

    models: ModelScope
    sessions: SessionScope | None = None


class TokenConstraints(Body):
    """Limits of a token."""

    max_sessions: Annotated[int, Field(ge=0)] | None = None
    max_session_duration_seconds: Annotated[int, Field(ge=1, le=SESSION_DURATION_MAX_S)] | None = None


class Role(StrEnum):
    """Additive: what a token may do in the sessions that it covers. A viewer watches, and changes nothing."""

    DIRECTOR = "director"
    VIEWER = "viewer"


FORBIDDEN_ROLE = "forbidden_role"
"""Stable code of what a viewer is refused, over HTTP and on the data channels."""


class AuthorizationDetail(Body):
    """One entry of `authorization_details`."""

    type: Literal["session"]
    resources: TokenResources
    constraints: TokenConstraints | None = None
    role: Role = Role.DIRECTOR


class TokenRequest(Body):
    """Body of `POST /tokens`; may be absent or `null`. `expires_after` is in seconds, clamped to six hours."""

    expires_after: Annotated[int, Field(gt=0)] | None = None
    authorization_details: list[AuthorizationDetail] | None = None

    @model_validator(mode="before")
    @classmethod
    def _role_has_its_place(cls, data: Any) -> Any:
        """Ignored like other unknown members it would leave the token a director's."""
        if isinstance(data, dict) and "role" in data:
            raise ValueError("role belongs into an entry of authorization_details")
        return data


class Token(Body):
    """Answer of `POST /tokens`; `expires_at` in unix seconds."""

    jwt: str
    expires_at: int


def model_slug(name: str) -> str:
    """The model without its owner: `owner/longlive-v2` is `longlive-v2`."""
    return name.rpartition("/")[2]


# --- sessions -------------------------------------------------------------------------------------------------------


class SessionState(StrEnum):
    """State of a session as clients see it."""

    CREATED = "CREATED"
    PENDING = "PENDING"
    WAITING = "WAITING"
    ACTIVE = "ACTIVE"
    SUSPENDED = "SUSPENDED"
    INACTIVE = "INACTIVE"
    CLOSED = "CLOSED"


class ModelRef(Body):
    """A model by slug (`longlive-v2`) or owner and slug (`owner/longlive-v2`)."""

    name: Annotated[str, Field(min_length=1, max_length=128)]
    version: str | None = None


class ClientInfo(Body):
    """Which SDK speaks."""

    sdk_version: str = ""
    sdk_type: str = ""


class Transport(Body):
    """A media transport and its version."""

    protocol: str = "webrtc"
    version: str = "1.0"


class CreateSession(Body):
    """Body of `POST /sessions`."""

    model: ModelRef
    client_info: ClientInfo = ClientInfo()
    supported_transports: list[Transport] = [Transport()]
    extra_args: dict[str, Any] | None = None
    extra_configs: dict[str, Any] | None = None
    from_snapshot: str | None = None
    """Additive: the id of a saved snapshot that the session starts from."""


class TrackCapability(Body):
    """A track from the client's point of view: `recvonly` is what the model produces."""

    name: str
    kind: Literal["video", "audio"]
    direction: Literal["recvonly", "sendonly"]


class CommandCapability(Body):
    """A command of the model, with the JSON schema of its arguments."""

    name: str
    description: str
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    model_config = ConfigDict(populate_by_name=True)


class Capabilities(Body):
    """What a session offers once a worker holds it. Clients take its presence, with a transport, for readiness."""

    protocol_version: str = "v0"
    tracks: list[TrackCapability]
    commands: list[CommandCapability] = []
    emission_fps: float | None = None


class ServerInfo(Body):
    """Who answers."""

    server_version: str


class QueuePosition(Body):
    """Our extra while a session waits: zero-based place in the queue and the expected wait in seconds, None unknown."""

    position: int
    eta_s: float | None = None


class Session(Body):
    """The session object of every session endpoint."""

    session_id: str
    state: SessionState
    cluster: str
    model: ModelRef
    server_info: ServerInfo
    selected_transport: Transport | None = None
    capabilities: Capabilities | None = None
    queue: QueuePosition | None = None


class SaveSnapshot(Body):
    """Optional body of `POST /sessions/{id}/snapshots`. `grant` names accounts that may start from it too."""

    name: str = Field(default="", max_length=200)
    grant: list[Annotated[str, Field(min_length=1, max_length=200)]] = Field(default=[], max_length=100)


class SavedSnapshot(Body):
    """A moment of a session. Times are unix seconds."""

    snapshot_id: str
    model: str
    name: str
    created_at: int
    expires_at: int
    events: bool
    """Whether the log that led there is kept too."""


class DeleteSession(Body):
    """Optional body of `DELETE /sessions/{id}`."""

    reason: str | None = None


class Disk(StrEnum):
    """What is kept on it."""

    RECORDINGS = "recordings"
    """Of open sessions, on a worker's machine."""
    STORAGE = "storage"
    """Uploads, and recordings of sessions that are over."""


class LoadFailed(Body):
    """No worker of the model is loaded, the newest could not be, and another try is due."""

    kind: Literal["load_failed"] = "load_failed"
    model: str


class WorkersMissing(Body):
    """No worker of the model is loaded, and one has been waited for too long: it has no machine, or hangs."""

    kind: Literal["workers_missing"] = "workers_missing"
    model: str


class DiskFull(Body):
    """Somewhere in the cluster less than 5 % of such a disk is free."""

    kind: Literal["disk_full"] = "disk_full"
    disk: Disk


Trouble = Annotated[LoadFailed | WorkersMissing | DiskFull, Field(discriminator="kind")]
"""What stands in the way of sessions although requests are answered. More kinds may come."""


class Readiness(Body):
    """Answer of `GET /ready`: whether sessions can be opened, which parts answer, what is served."""

    ready: bool
    checks: dict[str, bool]
    """`redis`, `allocator`; `models` where the allocator answers: that not all of them fail to load."""
    troubles: tuple[Trouble, ...] = ()
    models: list[str]
    recording: bool
    """Whether clips can be had of sessions."""


# --- signalling -----------------------------------------------------------------------------------------------------


class IceCredentials(Body):
    """TURN credentials."""

    username: str
    password: str


class IceServer(Body):
    """A STUN or TURN server."""

    uris: list[str]
    credentials: IceCredentials | None = None


class IceServers(Body):
    """Answer of `GET …/ice_servers`."""

    ice_servers: list[IceServer]


class TrackMapping(Body):
    """Which media section (`mid`) carries which track; direction from the client's point of view."""

    mid: str
    name: str
    kind: Literal["video", "audio"]
    direction: Literal["recvonly", "sendonly"]


class SdpOffer(Body):
    """Body of `POST|PUT …/sdp_params`."""

    sdp_offer: Annotated[str, Field(min_length=1)]
    client_info: ClientInfo = ClientInfo()
    track_mapping: list[TrackMapping] = []


class SdpAnswer(Body):
    """Answer of `GET …/sdp_params` with status 200."""

    sdp_answer: str
    connection_id: int


FLAT_CONNECTION_ID = 1001
"""The connection of the legacy path without ids, whose clients know neither `control` nor `resume_track`."""


class ConnectionRef(Body):
    """Answer of `POST …/connections` (201) and of an accepted offer (202)."""

    connection_id: int


class IceCandidate(Body):
    """A trickled candidate; an empty `candidate` marks the end."""

    candidate: str
    sdp_mid: str | None = None
    sdp_mline_index: int | None = None


class IceCandidates(Body):
    """Body of `POST …/ice_candidates`."""

    candidates: list[IceCandidate]
    is_final: bool = False
    client_info: ClientInfo = ClientInfo()
