"""Errors of the cluster, each with the stable code that a client sees.

ClusterError
├── NotFound               not_found: no such session, or not this tenant's
│   ├── UnknownModel       unknown_model
│   └── UnknownConnection  unknown_connection
├── InvalidOffer           invalid_offer: the SDP cannot be answered
├── NotReady               not_ready: no worker holds the session yet
├── Conflict               conflict: the session's state forbids the call
├── UploadRefused          upload_refused: the bytes are not what their slot was made for
│   ├── UploadTooLarge     upload_too_large
│   ├── SizeMismatch       size_mismatch: more or fewer bytes than announced
│   ├── DigestMismatch     digest_mismatch
│   └── UnsupportedMedia   unsupported_media: a type that is not taken, or a broken file
├── OutsideRecording       outside_recording: a clip that is not within the recording
├── ClipGone               clip_gone: no longer kept, or never was
├── QuotaExceeded          quota_exceeded: the tenant's limit is reached
├── QueueFull              queue_full: too many are waiting
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


class InvalidOffer(ClusterError):
    """The SDP offer cannot be parsed or answered."""

    code = "invalid_offer"


class NotReady(ClusterError):
    """The session waits for a worker, or is over."""

    code = "not_ready"


class Conflict(ClusterError):
    """The session's state forbids the call."""

    code = "conflict"


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


class OutsideRecording(ClusterError):
    """No such clip can be: its times are not within the recording, or no times at all."""

    code = "outside_recording"


class ClipGone(ClusterError):
    """The recording, or this part of it, is no longer kept, or never was."""

    code = "clip_gone"


class QuotaExceeded(ClusterError):
    """The tenant's limit of open sessions is reached."""

    code = "quota_exceeded"


class QueueFull(ClusterError):
    """Too many sessions wait already. `retry_after_s` says when to try again."""

    code = "queue_full"

    def __init__(self, message: str, retry_after_s: int = 5) -> None:
        super().__init__(message, retry_after_s)
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return str(self.args[0])


class Unavailable(ClusterError):
    """A part of the cluster did not answer."""

    code = "unavailable"
