"""What a LongLive-2.0 session hears and says: the nine published commands and twelve messages, and three more of each
that edit the timeline.

Names, types, defaults and bounds are those of the published wire surface; the schema that clients read is generated
from these classes. A negative `at_session_chunk` has no bound in the schema: it is answered by `command_error`. So is a
prompt that is too long, which the schema does tell of (`maxLength`): validation here must not answer it first.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from models.contract import Command, CommandError, Message

MAX_PROMPT_BYTES = 16_384
"""Longest prompt in bytes of UTF-8; no more of it than some hundred words reaches the text encoder."""

Prompt = Annotated[str, WithJsonSchema({"type": "string", "maxLength": MAX_PROMPT_BYTES})]
"""A prompt in a command. The schema counts characters, of which there are at most as many as bytes."""

# Commands


class SetShot(Command):
    """Set the opening shot, or change the shot at the next chunk boundary while keeping the scene.

    Before `start` the prompt is what the first chunk shows. Afterwards it is a soft change: the scene goes on with all
    it remembers and with what is left of its chunk budget. Answers `shot_set`; refused for a blank prompt and for a
    completed run.
    """

    prompt: Prompt = Field("", description="What the shot shows, in plain words. May not be blank.")


class CutScene(Command):
    """Cut hard to a new scene at the next chunk boundary.

    Nothing of the old scene is remembered and the new one has a full chunk budget. A second cut before that boundary
    takes the place of the first. `scene_cut` is sent when the cut happens, not when it is accepted; refused for a
    blank prompt and for a completed run.
    """

    prompt: Prompt = Field("", description="What the new scene shows, in plain words. May not be blank.")

    @classmethod
    def wire_name(cls) -> str:
        """`scene_cut`: the command shares its wire name with the message that announces the cut."""
        return "scene_cut"


class ScheduleShot(Command):
    """Plan a soft shot change for a given chunk of the run.

    It takes effect without any message of its own. At chunk 0 its prompt replaces the opening shot's. A shot already
    planned for the same chunk is replaced. Answers `shot_scheduled`; refused for a blank prompt, a negative chunk and
    a completed run.
    """

    prompt: Prompt = Field("", description="What the shot shows from that chunk on. May not be blank.")
    at_session_chunk: int = Field(
        -1,
        description="How many chunks of the run are complete when the change happens: 0 or more, in the count that "
        "scene cuts do not reset. A count already passed is accepted and never happens.",
    )


class ScheduleSceneCut(Command):
    """Plan a hard cut to a new scene for a given chunk of the run.

    `scene_cut` is sent when it happens. A cut already planned for the same chunk is replaced; a shot planned for the
    same chunk gives way to the cut. Answers `scene_cut_scheduled`; refused for a blank prompt, a negative chunk and a
    completed run.
    """

    prompt: Prompt = Field("", description="What the new scene shows. May not be blank.")
    at_session_chunk: int = Field(
        -1,
        description="How many chunks of the run are complete when the cut happens: 0 or more, in the count that "
        "scene cuts do not reset. A count already passed is accepted and never happens.",
    )


class Unschedule(Command):
    """Take away what is planned for a given chunk of the run, shot and cut alike.

    Answers `unscheduled`. Refused for a negative chunk, one that has begun, one that nothing is planned for, for the
    cut without which a run whose scene is used up could not go on, and for a completed run.
    """

    at_session_chunk: int = Field(-1, description="The chunk it was planned for, in the count of `session_chunk`.")


class MoveBeat(Command):
    """Move what is planned for a given chunk of the run, shot and cut alike, to another.

    Answers `beat_moved`. Refused where `unschedule` is, for a chunk to move to that is negative or has begun, and for
    one that something is planned for.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    from_: int = Field(-1, alias="from", description="The chunk it was planned for, in the count of `session_chunk`.")
    to: int = Field(-1, description="The chunk it shall be planned for.")


class ListBeats(Command):
    """List what is planned.

    Answers `beats_listed`; never refused.
    """


class Start(Command):
    """Begin generating on `main_video`.

    Needs an opening shot. All chunk counters begin at zero and the seed is read. `generation_started` follows with
    the first chunk; refused without an opening shot, while a run is going on and after one is complete.
    """


class Pause(Command):
    """Pause when the chunk being generated is complete.

    `generation_paused` is sent when generation has come to rest; refused unless the session is generating.
    """


class Resume(Command):
    """Go on generating after a pause.

    Answers `generation_resumed`; refused unless the session is paused.
    """


class Reset(Command):
    """Abandon the run and return to the state of a new session, which only the seed outlives.

    Prompt, planned shots and cuts and all counters are cleared. Answers `generation_reset`; never refused.
    """


class SetSeed(Command):
    """Set seed"""

    seed: int = Field(42, ge=0, description="Seed of the noise. It is read by `start`; a run keeps the seed it has.")


# Messages


class State(Message):
    """The whole observable state: sent on connect, after every accepted command and after every chunk."""

    running: bool = Field(description="Chunks are being generated: started and not paused.")
    started: bool = Field(description="`start` was accepted and the run is neither complete nor reset.")
    paused: bool = Field(description="Generation rests until `resume`.")
    current_chunk: int = Field(description="Index in its scene of the last complete chunk; 0 before the first.")
    session_chunk: int = Field(description="Chunks completed since `start`, over all scenes.")
    current_frame: int = Field(description="Frames emitted since the session began or was last reset.")
    current_prompt: str | None = Field(description="Prompt in force; null when none is set.")
    has_prompt: bool = Field(description="An opening shot is set.")
    seed: int = Field(description="Seed that the next `start` will read.")
    scheduled_shots: list[int] = Field(description="Chunk counts at which planned shots take effect, ascending.")
    scheduled_scene_cuts: list[int] = Field(description="Chunk counts at which planned cuts take effect, ascending.")


class ShotSet(Message):
    """A shot was accepted: as the opening shot, or for the next chunk boundary."""

    prompt: str = Field(description="The accepted prompt.")


class SceneCut(Message):
    """A hard cut took effect, whether live or planned."""

    prompt: str = Field(description="The new scene's prompt.")
    at_session_chunk: int = Field(description="Chunks of the run that were complete when the new scene began.")


class ShotScheduled(Message):
    """A shot was planned."""

    prompt: str = Field(description="The planned prompt.")
    at_session_chunk: int = Field(description="Chunk count at which it takes effect.")


class SceneCutScheduled(Message):
    """A hard cut was planned."""

    prompt: str = Field(description="The planned prompt.")
    at_session_chunk: int = Field(description="Chunk count at which it takes effect.")


class Unscheduled(Message):
    """What was planned for a chunk no longer is."""

    at_session_chunk: int = Field(description="Chunk count at which it would have taken effect.")


class BeatMoved(Message):
    """What was planned for a chunk is planned for another."""

    model_config = ConfigDict(serialize_by_alias=True)

    from_: int = Field(alias="from", description="Chunk count at which it would have taken effect.")
    to: int = Field(description="Chunk count at which it takes effect.")


class ListedBeat(BaseModel):
    """A planned shot or cut."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    kind: Literal["shot", "scene_cut"] = Field(description="A soft change, or a hard cut to a new scene.")
    prompt: str = Field(description="The planned prompt.")
    at_session_chunk: int = Field(description="Chunk count at which it takes effect.")


class BeatsListed(Message):
    """All that is planned."""

    beats: list[ListedBeat] = Field(description="By chunk, ascending; of a cut and a shot, the cut, which wins, first.")


class GenerationStarted(Message):
    """The first chunk of a run is on its way."""

    prompt: str = Field(description="Prompt of the first chunk.")
    chunk_num: int = Field(description="Chunks the run has if nothing cuts to another scene.")
    frame_num: int = Field(description="Frames those chunks have.")


class ChunkComplete(Message):
    """A chunk of `main_video` is complete."""

    chunk_index: int = Field(description="Index of the chunk in its scene, from 0.")
    session_chunk: int = Field(description="Chunks completed since `start`, this one included.")
    frames_emitted: int = Field(description="Frames emitted since the session began or was last reset.")
    active_prompt: str = Field(description="The prompt that made the chunk.")


class GenerationPaused(Message):
    """Generation has come to rest."""

    chunk_index: int = Field(description="Index in its scene of the last complete chunk.")


class GenerationResumed(Message):
    """Generation goes on."""

    chunk_index: int = Field(description="Index in its scene of the next chunk.")


class GenerationReset(Message):
    """The session is as new."""

    reason: str = Field(description="Why, in a few words.")


class GenerationComplete(Message):
    """A scene has used up its chunks and no cut was waiting; only `reset` opens the session again."""

    total_chunks: int = Field(description="Chunks of the whole run, over all scenes.")


COMMANDS: tuple[type[Command], ...] = (
    SetShot,
    CutScene,
    ScheduleShot,
    ScheduleSceneCut,
    Unschedule,
    MoveBeat,
    ListBeats,
    Start,
    Pause,
    Resume,
    Reset,
    SetSeed,
)

MESSAGES: tuple[type[Message], ...] = (
    State,
    ShotSet,
    SceneCut,
    ShotScheduled,
    SceneCutScheduled,
    Unscheduled,
    BeatMoved,
    BeatsListed,
    GenerationStarted,
    ChunkComplete,
    GenerationPaused,
    GenerationResumed,
    GenerationReset,
    GenerationComplete,
    CommandError,
)
