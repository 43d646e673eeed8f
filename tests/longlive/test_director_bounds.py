"""What a session holds is bounded, and what goes beyond is refused in words, over both protocols."""

from __future__ import annotations

import json
from typing import Any

import pytest
from directing import give, moved, refused, started, state

from cluster.commands import Dispatch
from longlive.director import LongLiveDirector
from longlive.protocol import (
    MAX_PROMPT_BYTES,
    BeatMoved,
    CutScene,
    ListBeats,
    MoveBeat,
    ScheduleSceneCut,
    ScheduleShot,
    SetShot,
    Unschedule,
)
from longlive.refusals import PROMPT_TOO_LONG, SCHEDULE_FULL
from longlive.schedule import MAX_BEATS, MAX_PROMPTS_BYTES
from longlive.spec import FPS, FRESH, spec
from models.contract import Command, CommandError, Message, VideoFormat
from wire import reactor_wire_pb2 as pb
from wire import schema
from wire.codec import Codec, Frame
from wire.frames import Channel, FrameError, ModelMessage
from wire.structs import to_struct
from wire.v0 import JsonCodec
from wire.v1 import ProtobufCodec

pytestmark = pytest.mark.slow

LONGEST_COUNT = 2**63 - 1
MODEL = spec(VideoFormat(width=1280, height=704, fps=FPS), FRESH)


def v0_frame(name: str, data: dict[str, Any]) -> Frame:
    return Frame(Channel.DATA, json.dumps({"scope": "application", "data": {"type": name, "data": data}}))


def v1_frame(name: str, data: dict[str, Any]) -> Frame:
    command = pb.Command(type=name, data=to_struct(data))
    message = pb.DataClientMessage(command=command, kind=pb.MESSAGE_KIND_REQUEST, request_id="1")
    return Frame(Channel.DATA, message.SerializeToString())


WIRES = [(JsonCodec(), v0_frame), (ProtobufCodec(), v1_frame)]
both_wires = pytest.mark.parametrize(("codec", "frame"), WIRES, ids=["v0", "v1"])


def said(codec: Codec, director: LongLiveDirector, frame: Frame) -> list[Message]:
    """What is broadcast of a frame; every message must fit into a frame of its own."""
    message = codec.decode(frame)
    messages = list(Dispatch(MODEL, director)(message).messages)
    for answer in messages:
        codec.encode(ModelMessage(answer.wire_name(), answer.model_dump(mode="json")))
    return messages


class TestPrompts:
    @pytest.mark.parametrize("command", [SetShot, CutScene, ScheduleShot, ScheduleSceneCut])
    @pytest.mark.parametrize("letter", ["a", "é", "砂"])
    def test_are_as_long_as_the_bound_and_no_longer(self, command: type[Command], letter: str) -> None:
        longest = letter * (MAX_PROMPT_BYTES // len(letter.encode()))
        target = {"at_session_chunk": 5} if "at_session_chunk" in command.model_fields else {}
        give(started(), command.model_validate({"prompt": longest, **target}))
        longer = command.model_validate({"prompt": longest + letter, **target})
        assert refused(started(), longer) == PROMPT_TOO_LONG

    @both_wires
    def test_are_refused_as_a_blank_one_is(self, codec: Codec, frame: Any) -> None:
        for prompt in ("", "a" * (MAX_PROMPT_BYTES + 1), "a" * 200_000):
            (answer,) = said(codec, started(), frame("set_shot", {"prompt": prompt}))
            assert isinstance(answer, CommandError)

    @both_wires
    def test_of_a_megabyte_do_not_even_come_in(self, codec: Codec, frame: Any) -> None:
        with pytest.raises(FrameError, match="larger than"):
            codec.decode(frame("set_shot", {"prompt": "a" * 2**20}))


class TestTheSchedule:
    def test_takes_so_many_beats_of_ten_thousand(self) -> None:
        director = started()
        answers = [director.handle(ScheduleShot(prompt="a", at_session_chunk=at))[-1] for at in range(1, 10_001)]
        assert state(director).scheduled_shots == list(range(1, MAX_BEATS + 1))
        refusal = CommandError(command="schedule_shot", reason=SCHEDULE_FULL)
        assert [answer for answer in answers if isinstance(answer, CommandError)] == [refusal] * (10_000 - MAX_BEATS)

    def test_that_is_full_can_still_be_edited(self) -> None:
        director = full(moved(started()), prompt="a")
        assert refused(director, ScheduleSceneCut(prompt="b", at_session_chunk=1)) == SCHEDULE_FULL
        give(director, ScheduleShot(prompt="in place of the first", at_session_chunk=1))
        give(director, SetShot(prompt="live"), CutScene(prompt="live"))
        give(director, Unschedule(at_session_chunk=1), ScheduleSceneCut(prompt="b", at_session_chunk=1))

    def test_that_is_full_takes_a_past_target_which_it_does_not_keep(self) -> None:
        director = started()
        director.begin_chunk()
        full(director, prompt="a")
        give(director, ScheduleShot(prompt="b", at_session_chunk=0))
        assert len(state(director).scheduled_shots) == MAX_BEATS

    def test_counts_kinds_together(self) -> None:
        director = started()
        for at in range(1, MAX_BEATS // 2 + 1):
            give(director, ScheduleShot(prompt="a", at_session_chunk=at))
            give(director, ScheduleSceneCut(prompt="a", at_session_chunk=at))
        assert refused(director, ScheduleShot(prompt="a", at_session_chunk=9999)) == SCHEDULE_FULL

    def test_bounds_the_prompts_together(self) -> None:
        director = started()
        held = MAX_PROMPTS_BYTES // MAX_PROMPT_BYTES
        longest = "a" * (MAX_PROMPT_BYTES - 2)  # the quotes are counted too
        for at in range(1, held + 1):
            give(director, ScheduleShot(prompt=longest, at_session_chunk=at))
        assert refused(director, ScheduleShot(prompt="a", at_session_chunk=held + 1)) == SCHEDULE_FULL
        give(director, ScheduleShot(prompt="shorter", at_session_chunk=1))
        give(director, ScheduleShot(prompt="a", at_session_chunk=held + 1))

    @both_wires
    @pytest.mark.parametrize(
        "prompt", ["a" * 126, "\x01" * 21, '"' * 63, "砂" * 42], ids=["a", "control", "quote", "sand"]
    )
    def test_can_be_listed_in_one_message_when_full(self, codec: Codec, frame: Any, prompt: str) -> None:
        director = full(started(), prompt)
        listed, _ = said(codec, director, frame("list_beats", {}))
        assert len(listed.model_dump()["beats"]) == MAX_BEATS


def full(director: LongLiveDirector, prompt: str) -> LongLiveDirector:
    """Shots planned for chunk 1 and for those furthest away, as many as there may be."""
    snapshot = director.snapshot()
    targets = [1, *range(LONGEST_COUNT - MAX_BEATS + 2, LONGEST_COUNT + 1)]
    snapshot["schedule"]["beats"] = [{"kind": "shot", "prompt": prompt, "at": at} for at in targets]
    director.restore(snapshot)
    assert refused(director, ScheduleShot(prompt="one more", at_session_chunk=2)) == SCHEDULE_FULL
    give(director, ScheduleShot(prompt=prompt, at_session_chunk=1))  # neither are there too many, nor are they too long
    return director


class TestTheTimelineOnTheWire:
    @both_wires
    def test_beats_are_moved_by_from_and_to(self, codec: Codec, frame: Any) -> None:
        director = started("a", ScheduleShot(prompt="b", at_session_chunk=3))
        moved_, _ = said(codec, director, frame("move_beat", {"from": 3, "to": 5}))
        assert isinstance(moved_, BeatMoved)
        assert moved_.model_dump(mode="json") == {"from": 3, "to": 5}
        listed, _ = said(codec, director, frame("list_beats", {}))
        beat = {"kind": "shot", "prompt": "b", "at_session_chunk": 5}
        assert listed.model_dump(mode="json") == {"beats": [beat]}
        taken, _ = said(codec, director, frame("unschedule", {"at_session_chunk": 5}))
        assert taken.model_dump(mode="json") == {"at_session_chunk": 5}

    @both_wires
    def test_other_names_are_not_those_of_the_schema(self, codec: Codec, frame: Any) -> None:
        turn = Dispatch(MODEL, started())(codec.decode(frame("move_beat", {"from_": 3, "to": 5})))
        assert turn.messages == ()
        assert turn.reply is not None

    def test_the_schema_of_the_model_has_them(self) -> None:
        document = schema.model_schema(
            name=MODEL.name,
            description=MODEL.description,
            version=MODEL.version,
            tracks=MODEL.tracks,
            commands=MODEL.command_types(),
            messages={m.wire_name(): m for m in MODEL.messages},
        )
        body = document["paths"]["/events/move_beat"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert list(body["properties"]) == ["from", "to"]
        shot = document["paths"]["/events/set_shot"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert shot["properties"]["prompt"]["maxLength"] == MAX_PROMPT_BYTES
        components = document["components"]["schemas"]
        assert list(components["BeatMoved"]["properties"]) == ["from", "to"]
        assert components["BeatsListed"]["properties"]["beats"]["items"] == {"$ref": "#/components/schemas/ListedBeat"}
        assert "ListedBeat" in components

    def test_capabilities_have_them(self) -> None:
        told = schema.capabilities(MODEL.tracks, MODEL.command_types()).model_dump(by_alias=True)
        commands = {command["name"]: command["schema"] for command in told["commands"]}
        assert list(commands["move_beat"]["properties"]) == ["from", "to"]
        assert {"unschedule", "list_beats"} < commands.keys()


def test_commands_are_dumped_as_they_came() -> None:
    arguments = {"from": 3, "to": 5}
    assert MoveBeat.model_validate(arguments).model_dump(mode="json") == arguments
    assert ListBeats().model_dump() == {}
