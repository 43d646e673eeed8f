"""The wire: everything that clients and the cluster say to each other, and nothing of how either works.

    http         bodies of the HTTP endpoints
    frames       the messages of the data channels, in one form behind both protocols
    codec        the seam: `Codec` turns a `Frame` into a message and back
    v0, v1       the two protocols: JSON text, and protobuf (`reactor_wire.proto`)
    negotiate    which protocol a connection speaks
    values       limits of a frame, checks of what a client sends;  structs: JSON objects as protobuf's Struct
    schema       a model's commands and messages as OpenAPI 3.1 and as `capabilities`
    uploads      bodies of the upload endpoint, files as arguments of commands
    playlist     clips as HLS
    usage        what an account has used, by day

HTTP bodies and messages are many and are taken from `wire.http` and `wire.frames`; the rest of the public surface is
here.
"""

from wire.codec import Codec, Frame
from wire.frames import Channel, ClientMessage, FrameError, ServerMessage, UploadReference
from wire.negotiate import V0, V1, codec_for_client, codec_for_first_frame
from wire.schema import TrackLike, capabilities, model_schema
from wire.uploads import arguments
from wire.values import MAX_DEPTH, MAX_FRAME_BYTES, MAX_NAME_CHARS

__all__ = [
    "MAX_DEPTH",
    "MAX_FRAME_BYTES",
    "MAX_NAME_CHARS",
    "V0",
    "V1",
    "Channel",
    "ClientMessage",
    "Codec",
    "Frame",
    "FrameError",
    "ServerMessage",
    "TrackLike",
    "UploadReference",
    "arguments",
    "capabilities",
    "codec_for_client",
    "codec_for_first_frame",
    "model_schema",
]
