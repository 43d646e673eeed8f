"""From messages to the director: what is refused before it, what it refuses, and who is owed a reply."""

from __future__ import annotations

import pytest
from pydantic import Field

from cluster import metrics
from cluster.commands import RECORDER_DISABLED, Dispatch, Turn
from longlive.director import LongLiveDirector
from models import registry
from models.contract import Command, CommandError, Geometry, Message, ModelSpec, Track, VideoFormat
from models.files import Upload
from wire import frames
from wire.frames import Channel, CommandAccepted, Refused, UploadReference

pytestmark = pytest.mark.fast

REFERENCE = UploadReference("6f0b8a52-0000-4000-8000-000000000001", "dog.gif", "image/gif", 99)
FILE = Upload(REFERENCE.upload_id, "dog.png", "image/png", b"not a lie")
NESTED = {"upload_id": "6f0b8a52-0000-4000-8000-000000000002", "name": "cat", "mime_type": "image/png", "size": 1}
OTHER = Upload(str(NESTED["upload_id"]), "cat", "image/png", b"cat")
FILES = {file.upload_id: file for file in (FILE, OTHER)}


class SetImage(Command):
    """Take a picture."""

    image: Upload
    strength: float = 1.0
    more: list[Upload] = Field(default_factory=list)


class ImageSet(Message):
    """It was taken."""

    name: str


class Gallery:
    """A director that takes pictures."""

    def __init__(self) -> None:
        self.taken: list[SetImage] = []

    def handle(self, command: SetImage) -> list[Message]:
        self.taken.append(command)
        return [ImageSet(name=command.image.name)]


GALLERY = ModelSpec(
    name="gallery",
    description="Takes files.",
    tracks=(Track("main_video", "video", "out", VideoFormat(16, 16, 24)),),
    commands=(SetImage,),
    messages=(ImageSet,),
    geometry=Geometry(1, 1),
)


@pytest.fixture
def spec() -> ModelSpec:
    return registry.find("longlive-v2", "tiny").spec


@pytest.fixture
def director() -> LongLiveDirector:
    return LongLiveDirector()


@pytest.fixture
def dispatch(spec: ModelSpec, director: LongLiveDirector) -> Dispatch:
    return Dispatch(spec, director)


def command(name: str, request_id: str | None = None, **data: object) -> frames.Command:
    return frames.Command(name, data, request_id=request_id)


def names(turn: Turn) -> list[str]:
    return [message.wire_name() for message in turn.messages]


def counted(outcome: str) -> float:
    return metrics.COMMANDS.labels("longlive-v2", outcome)._value.get()


def test_an_accepted_command_speaks_to_all_and_changes_the_director(dispatch):
    before = counted("accepted")
    turn = dispatch(command("set_shot", prompt="dunes"))
    assert names(turn) == ["shot_set", "state"]
    assert turn.messages[-1].current_prompt == "dunes"
    assert turn.changed
    assert turn.reply is None, "nobody asked for one"
    assert counted("accepted") == before + 1


def test_what_the_director_refuses_changes_nothing(dispatch, director):
    before, state = counted("refused"), director.snapshot()
    turn = dispatch(command("start"))
    assert names(turn) == ["command_error"]
    assert isinstance(turn.messages[-1], CommandError)
    assert turn.messages[-1].command == "start"
    assert not turn.changed
    assert director.snapshot() == state
    assert counted("refused") == before + 1


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (command("teleport"), "unknown command"),
        (command("SetShot", prompt="x"), "unknown command"),
        (command("set_shot", prompt=5), "prompt"),
        (command("set_shot", prompt=None), "prompt"),
        (command("set_shot", prompt="x", loudly=True), "loudly"),
        (command("set_seed", seed="42"), "seed"),
        (command("set_seed", seed=True), "seed"),
        (command("set_seed", seed=-1), "seed"),
        (command("schedule_shot", prompt="x", at_session_chunk=1.5), "at_session_chunk"),
        (command("start", now=True), "now"),
        (frames.Command("set_shot", {"prompt": "x"}, {"image": REFERENCE}), "image"),
        (frames.Command("set_shot", {}, {"prompt": REFERENCE}), "prompt"),
    ],
)
def test_what_does_not_fit_the_schema_never_reaches_the_director(dispatch, director, message, reason):
    before, state = counted("invalid"), director.snapshot()
    turn = dispatch(message)
    assert isinstance(turn.reply, Refused)
    assert (turn.reply.code, turn.reply.method) == ("invalid_command", message.name)
    assert turn.reply.channel is Channel.DATA
    assert reason in turn.reply.message
    assert turn.messages == ()
    assert not turn.changed
    assert director.snapshot() == state
    assert counted("invalid") == before + 1


def test_a_refusal_does_not_repeat_what_the_client_wrote(dispatch):
    turn = dispatch(command("set_seed", seed="a secret"))
    assert "secret" not in turn.reply.message


@pytest.mark.parametrize(
    ("message", "reply"),
    [
        (command("set_shot", "data_1", prompt="x"), CommandAccepted("data_1")),
        (command("start", "data_2"), CommandAccepted("data_2")),
        (command("set_shot", prompt="x"), None),
        (command("start"), None),
    ],
)
def test_a_request_id_is_replied_to_once_whether_accepted_or_refused(dispatch, message, reply):
    turn = dispatch(message)
    assert turn.reply == reply
    assert turn.messages, "the director had its turn"
    assert all(not isinstance(said, CommandAccepted | Refused) for said in turn.messages)


def test_an_invalid_command_is_refused_under_its_request_id(dispatch):
    turn = dispatch(command("teleport", "data_3"))
    assert turn.reply == Refused("invalid_command", "unknown command", "teleport", Channel.DATA, "data_3")
    assert turn.messages == ()


def test_files_are_arguments_of_commands_that_take_them():
    gallery = Gallery()
    dispatch = Dispatch(GALLERY, gallery)
    said = frames.Command("set_image", {"strength": 0.5, "more": [NESTED]}, {"image": REFERENCE}, "data_1")
    assert dispatch.files(said) == (FILE.upload_id, OTHER.upload_id)
    assert gallery.taken == [], "nothing has been handled yet"
    assert dispatch(said, FILES) == Turn([ImageSet(name="dog.png")], CommandAccepted("data_1"), changed=True)
    assert gallery.taken == [SetImage(image=FILE, strength=0.5, more=[OTHER])]
    assert gallery.taken[0].image.data == b"not a lie", "the bytes and what they are, not what was said of them"


def test_a_file_is_needed_once_however_often_it_is_named():
    said = frames.Command(
        "set_image", {"more": [NESTED, NESTED]}, {"image": UploadReference(OTHER.upload_id, "", "", 0)}
    )
    assert Dispatch(GALLERY, Gallery()).files(said) == (OTHER.upload_id,)


@pytest.mark.parametrize(
    ("data", "uploads", "reason"),
    [
        ({"strength": 0.5}, {}, "image"),
        ({"image": "dog.png"}, {}, "image"),
        ({"image": {"name": "dog.png"}}, {}, "image"),
        ({"image": {"upload_id": 7}}, {}, "image"),
        ({"more": NESTED}, {"image": REFERENCE}, "more"),
        ({"strength": "high"}, {"image": REFERENCE}, "strength"),
        ({}, {"image": REFERENCE, "mask": REFERENCE}, "mask"),
    ],
)
def test_no_file_is_fetched_for_a_command_that_does_not_fit(data, uploads, reason):
    gallery = Gallery()
    dispatch = Dispatch(GALLERY, gallery)
    said = frames.Command("set_image", data, uploads)
    assert dispatch.files(said) == ()
    assert reason in dispatch(said).reply.message
    assert gallery.taken == []


def test_commands_without_files_need_none(dispatch):
    assert dispatch.files(command("set_shot", prompt=NESTED)) == ()
    assert dispatch.files(command("teleport")) == ()


def test_a_file_is_a_reference_in_the_schema_and_in_json():
    document = Dispatch(GALLERY, Gallery())(frames.RequestSchema()).reply.openapi
    (schema,) = document["paths"]["/events/set_image"]["post"]["requestBody"]["content"].values()
    reference = {"$ref": "#/components/schemas/ReactorUploadReference"}
    assert schema["schema"]["properties"]["image"] == reference
    assert schema["schema"]["properties"]["more"]["items"] == reference
    assert schema["schema"]["required"] == ["image"]
    command = SetImage(image=FILE)
    expected = {"upload_id": FILE.upload_id, "name": "dog.png", "mime_type": "image/png", "size": 9}
    assert command.model_dump(mode="json")["image"] == expected
    assert "lie" not in repr(command), "bytes are not for logs"


@pytest.mark.parametrize("request_id", [None, "ctrl_1"])
def test_schema(dispatch, spec, request_id):
    turn = dispatch(frames.RequestSchema(request_id))
    assert isinstance(turn.reply, frames.ModelSchema)
    assert turn.reply.request_id == request_id
    assert turn.reply.openapi["openapi"].startswith("3.1")
    text = str(turn.reply.openapi)
    assert all(name in text for name in spec.command_types())
    assert not turn.changed


def test_capabilities(dispatch, spec):
    described = dispatch(frames.RequestCapabilities()).reply.capabilities
    assert {each["name"] for each in described["commands"]} == set(spec.command_types())
    assert [(t["name"], t["kind"], t["direction"]) for t in described["tracks"]] == [
        ("main_video", "video", "recvonly")
    ]
    assert described["emission_fps"] == 24.0
    assert all("schema" in each for each in described["commands"])


@pytest.mark.parametrize("message", [frames.RequestClip(5.0, "ctrl_1"), frames.RequestRecording("ctrl_1")])
def test_there_are_no_clips(dispatch, message):
    assert dispatch(message) == Turn(reply=frames.ClipFailed(RECORDER_DISABLED, "ctrl_1"))


@pytest.mark.parametrize("message", [frames.FileUploaded(FILE), frames.Ping(), frames.ClientStats()])
def test_messages_that_ask_for_nothing(dispatch, message):
    assert dispatch(message) == Turn()
