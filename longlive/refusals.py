"""Why a command is refused, in the words that clients show: `<command> failed: <reason>`."""

from __future__ import annotations

from longlive.progress import Progress
from longlive.protocol import (
    MAX_PROMPT_BYTES,
    CutScene,
    ListBeats,
    MoveBeat,
    Pause,
    Reset,
    Resume,
    ScheduleSceneCut,
    ScheduleShot,
    SetSeed,
    SetShot,
    Start,
    Unschedule,
)
from longlive.schedule import MAX_BEATS, MAX_PROMPTS_BYTES, Beat
from models.contract import Command

RUN_COMPLETE = "run is complete; call reset first"
PROMPT_EMPTY = "prompt is empty"
PROMPT_TOO_LONG = f"prompt is longer than {MAX_PROMPT_BYTES // 1024} KiB"
NEGATIVE_CHUNK = "at_session_chunk must be 0 or more"
NEGATIVE_MOVE = "from and to must be 0 or more"
PAST_CHUNK = "chunk is past"
NOTHING_SCHEDULED = "nothing is scheduled there"
OCCUPIED = "chunk is already occupied"
CUT_NEEDED = "the scene is used up; the run goes on only by this cut"
SCHEDULE_FULL = f"schedule is full; at most {MAX_BEATS} beats with {MAX_PROMPTS_BYTES // 1024} KiB of prompts"
ALREADY_STARTED = "already started"
NO_OPENING_SHOT = "no opening shot; call set_shot first"
NOT_GENERATING = "not generating"
ALREADY_PAUSED = "already paused"
PAUSE_PENDING = "pause is already pending"
NOT_PAUSED = "not paused"


def refusal(command: Command, progress: Progress) -> str | None:
    """The reason to refuse the command where the session stands; None if it is acceptable. `reset`, `set_seed` and
    `list_beats` always are."""
    if progress.phase == "complete" and not isinstance(command, Reset | SetSeed | ListBeats):
        return RUN_COMPLETE
    match command:
        case SetShot(prompt=prompt) | CutScene(prompt=prompt):
            return _prompt_refusal(prompt)
        case ScheduleShot() | ScheduleSceneCut():
            return _prompt_refusal(command.prompt) or _schedule_refusal(command, progress)
        case Unschedule() | MoveBeat():
            return _edit_refusal(command, progress)
        case Start():
            return _start_refusal(progress)
        case Pause():
            return _pause_refusal(progress)
        case Resume() if progress.phase != "paused":
            return NOT_PAUSED
    return None


def _prompt_refusal(prompt: str) -> str | None:
    if prompt.strip() == "":
        return PROMPT_EMPTY
    return PROMPT_TOO_LONG if len(prompt.encode()) > MAX_PROMPT_BYTES else None


def _schedule_refusal(command: ScheduleShot | ScheduleSceneCut, progress: Progress) -> str | None:
    at = command.at_session_chunk
    if at < 0:
        return NEGATIVE_CHUNK
    if progress.is_past(at):
        return None  # accepted and not kept
    beat = Beat(kind="shot" if isinstance(command, ScheduleShot) else "cut", prompt=command.prompt, at=at)
    return None if progress.schedule.has_room(beat) else SCHEDULE_FULL


def _edit_refusal(command: Unschedule | MoveBeat, progress: Progress) -> str | None:
    match command:
        case Unschedule(at_session_chunk=at):
            return NEGATIVE_CHUNK if at < 0 else _removal_refusal(at, progress)
        case MoveBeat(from_=at, to=to):
            return NEGATIVE_MOVE if at < 0 or to < 0 else _removal_refusal(at, progress) or _place_refusal(to, progress)


def _removal_refusal(at: int, progress: Progress) -> str | None:
    if progress.is_past(at):
        return PAST_CHUNK
    if not progress.schedule.at(at):
        return NOTHING_SCHEDULED
    return CUT_NEEDED if progress.hangs_on(at) else None


def _place_refusal(to: int, progress: Progress) -> str | None:
    if progress.is_past(to):
        return PAST_CHUNK
    return OCCUPIED if progress.schedule.at(to) else None


def _start_refusal(progress: Progress) -> str | None:
    if progress.started:
        return ALREADY_STARTED
    return NO_OPENING_SHOT if progress.prompt is None else None


def _pause_refusal(progress: Progress) -> str | None:
    match progress.phase:
        case "paused":
            return ALREADY_PAUSED
        case "pausing":
            return PAUSE_PENDING
        case "generating":
            return None
        case _:
            return NOT_GENERATING
