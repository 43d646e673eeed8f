"""Strategies for every message of the data channels."""

from __future__ import annotations

from hypothesis import strategies as st

from wire.frames import (
    Channel,
    ClientStats,
    ClipFailed,
    ClipReady,
    Command,
    CommandAccepted,
    FileUploaded,
    ModelCapabilities,
    ModelMessage,
    ModelSchema,
    Moderation,
    PauseTrack,
    Ping,
    PublishTrack,
    Refused,
    RequestCapabilities,
    RequestClip,
    RequestRecording,
    RequestSchema,
    ResumeTrack,
    SessionEnded,
    TrackPublished,
    UnpublishTrack,
    UploadReference,
)

EXACT = 2**53  # the largest integers that a double tells apart

names = st.text(min_size=1, max_size=12)
ids = st.from_regex(r"\A(data|ctrl)_[1-9][0-9]{0,3}\Z")
numbers = st.integers(-EXACT, EXACT) | st.floats(-1e15, 1e15)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.text(max_size=8), json_values, max_size=4)
uploads = st.builds(UploadReference, names, st.text(max_size=12), st.text(max_size=12), st.integers(0, EXACT))
seconds = st.floats(0.001, 86_400)
markers = st.floats(0, 1e9)
tracks = st.builds(ResumeTrack, names) | st.builds(PauseTrack, names) | st.builds(UnpublishTrack, names)


def commands(request_ids: st.SearchStrategy[str | None]) -> st.SearchStrategy[Command]:
    made = st.builds(Command, names, objects, st.dictionaries(names, uploads, max_size=2), request_ids)
    return made.filter(lambda command: not command.data.keys() & command.uploads.keys())


def _asks(request_ids: st.SearchStrategy[str | None]) -> st.SearchStrategy:
    return (
        commands(request_ids)
        | st.builds(RequestSchema, request_ids)
        | st.builds(RequestClip, seconds, request_ids)
        | st.builds(RequestRecording, request_ids)
    )


_common = st.just(Ping()) | st.builds(FileUploaded, uploads) | tracks
v0_client = _common | _asks(st.none()) | st.just(RequestCapabilities()) | st.builds(PublishTrack, names, ids)
v1_client = _common | _asks(st.none() | ids) | st.just(ClientStats()) | st.builds(PublishTrack, names, st.none() | ids)


def server(request_ids: st.SearchStrategy[str | None]) -> st.SearchStrategy:
    """The messages that both protocols carry."""
    return (
        st.builds(ModelMessage, names, objects, request_ids)
        | st.builds(ModelSchema, objects, request_ids)
        | st.builds(ClipFailed, st.text(max_size=20), request_ids)
        | st.builds(SessionEnded, st.text(max_size=20))
        | st.builds(
            ClipReady,
            names,
            st.sampled_from(["snap", "recording"]),
            markers,
            markers,
            markers,
            st.integers(0, EXACT),
            names,
            request_ids,
        )
        | st.builds(
            Moderation,
            st.sampled_from(["warn", "terminate"]),
            st.sampled_from(["text", "image"]),
            names,
            st.lists(names, max_size=3).map(tuple),
            st.text(max_size=20),
        )
    )


v0_server = server(st.none()) | st.builds(ModelCapabilities, objects)
v1_server = (
    server(st.none() | ids)
    | st.builds(CommandAccepted, ids)
    | st.builds(TrackPublished, names, ids)
    | st.builds(Refused, names, names, st.just(""), st.sampled_from(Channel), ids)
)
