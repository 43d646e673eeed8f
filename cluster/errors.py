"""Errors of the cluster, each with the stable code that a client sees.

ClusterError
├── NotFound               not_found: no such session, or not this tenant's
│   ├── UnknownModel       unknown_model
│   ├── UnknownConnection  unknown_connection
│   └── UnknownWorker      unknown_worker: no worker and no node of this name
├── InvalidOffer           invalid_offer: the SDP cannot be answered
├── NotReady               not_ready: no worker holds the session yet
├── Conflict               conflict: the session's state forbids the call
│   ├── ConnectionTaken    connection_taken: a viewer asks for a connection that a director has
│   └── NoRoom             no_room: a worker could not keep another session in time
├── UploadRefused          upload_refused: the bytes are not what their slot was made for
│   ├── UploadTooLarge     upload_too_large
│   ├── SizeMismatch       size_mismatch: more or fewer bytes than announced
│   ├── DigestMismatch     digest_mismatch
│   └── UnsupportedMedia   unsupported_media: a type that is not taken, or a broken file
├── CommandRefused         command_refused: a command does not reach its model
│   └── TooManyCommands    too_many_commands: as many wait as may
│   (and `UnresolvedUpload` of `cluster.attachments`, and those of `cluster.moderation.verdict`)
├── OutsideRecording       outside_recording: a clip that is not within the recording
├── ClipGone               clip_gone: no longer kept, or never was
├── QuotaExceeded          quota_exceeded: the tenant's limit is reached
├── ScopeExhausted         insufficient_scope: the token's own limit of open sessions is reached
├── Later                  refused now, with the seconds after which to try again
│   ├── CreationsExceeded  creations_exceeded: too many new sessions in a minute
│   ├── QueueFull          queue_full: too many are waiting
│   └── PortsExhausted     ports_exhausted: no media port is free on the worker's machine
└── Unavailable            unavailable: a part of the cluster did not answer; try again
"""

from __future__ import annotations


class ClusterError(Exception):
    """Base of the tree. `str(error)` is fit for the client: no secrets, no prompts."""

    code = "cluster_error"


class NotFound(ClusterError):
    """No such session, or it is not this tenant's; the two are not told apart."""

    code = "not_found"


class UnknownModel(NotFound):
    """No pool serves this model."""

    code = "unknown_model"


class UnknownConnection(NotFound):
    """The session has no such connection."""

    code = "unknown_connection"


class UnknownWorker(NotFound):
    """No worker has this name, and none runs on a node of this name."""

    code = "unknown_worker"


class InvalidOffer(ClusterError):
    """The SDP offer cannot be parsed or answered."""

    code = "invalid_offer"


class NotReady(ClusterError):
    """The session waits for a worker, or is over."""

    code = "not_ready"


class Conflict(ClusterError):
    """The session's state forbids the call."""

    code = "conflict"


class ConnectionTaken(Conflict):
    """A director has the connection; a viewer must use another id."""

    code = "connection_taken"


class NoRoom(Conflict):
    """The worker has no slot, or its device could not keep another session in time. Said to the allocator."""

    code = "no_room"


class UploadRefused(ClusterError):
    """The bytes are not what their slot was made for."""

    code = "upload_refused"


class UploadTooLarge(UploadRefused):
    """Larger than any upload may be."""

    code = "upload_too_large"


class SizeMismatch(UploadRefused):
    """More or fewer bytes came than were announced."""

    code = "size_mismatch"


class DigestMismatch(UploadRefused):
    """The bytes have another digest than the client says."""

    code = "digest_mismatch"


class UnsupportedMedia(UploadRefused):
    """By its bytes the file is of a type that is not taken, or it is broken."""

    code = "unsupported_media"


class CommandRefused(ClusterError):
    """A command does not reach its model. Said on the data channel."""

    code = "command_refused"


class TooManyCommands(CommandRefused):
    """As many commands of the connection wait as may."""

    code = "too_many_commands"


class OutsideRecording(ClusterError):
    """No such clip can be: its times are not within the recording, or no times at all."""

    code = "outside_recording"


class ClipGone(ClusterError):
    """The recording, or this part of it, is no longer kept, or never was."""

    code = "clip_gone"


class ScopeExhausted(ClusterError):
    """The token allows no more open sessions than there are."""

    code = "insufficient_scope"


class QuotaExceeded(ClusterError):
    """The tenant's limit of open sessions is reached."""

    code = "quota_exceeded"


class Later(ClusterError):
    """What is refused now and can be asked for again after `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: int = 5) -> None:
        super().__init__(message, retry_after_s)
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return str(self.args[0])


class CreationsExceeded(Later):
    """The tenant has created as many sessions as it may in a minute."""

    code = "creations_exceeded"


class QueueFull(Later):
    """Too many sessions wait already."""

    code = "queue_full"


class PortsExhausted(Later):
    """Every port that media may use is taken on the worker's machine."""

    code = "ports_exhausted"


class Unavailable(ClusterError):
    """A part of the cluster did not answer."""

    code = "unavailable"
