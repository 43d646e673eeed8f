"""Why a command is refused, in the words that clients show: `<command> failed: <reason>`."""

from __future__ import annotations

from longlive.progress import Progress
from longlive.protocol import CutScene, Pause, Reset, Resume, ScheduleSceneCut, ScheduleShot, SetSeed, SetShot, Start
from models.contract import Command

RUN_COMPLETE = "run is complete; call reset first"
PROMPT_EMPTY = "prompt is empty"
NEGATIVE_CHUNK = "at_session_chunk must be 0 or more"
ALREADY_STARTED = "already started"
NO_OPENING_SHOT = "no opening shot; call set_shot first"
NOT_GENERATING = "not generating"
ALREADY_PAUSED = "already paused"
PAUSE_PENDING = "pause is already pending"
NOT_PAUSED = "not paused"


def refusal(command: Command, progress: Progress) -> str | None:
    """The reason to refuse the command where the session stands; None if it is acceptable. `reset` and `set_seed`
    always are."""
    if progress.phase == "complete" and not isinstance(command, Reset | SetSeed):
        return RUN_COMPLETE
    match command:
        case SetShot() | CutScene() | ScheduleShot() | ScheduleSceneCut():
            return _beat_refusal(command)
        case Start():
            return _start_refusal(progress)
        case Pause():
            return _pause_refusal(progress)
        case Resume() if progress.phase != "paused":
            return NOT_PAUSED
    return None


def _beat_refusal(command: SetShot | CutScene | ScheduleShot | ScheduleSceneCut) -> str | None:
    if command.prompt.strip() == "":
        return PROMPT_EMPTY
    if isinstance(command, ScheduleShot | ScheduleSceneCut) and command.at_session_chunk < 0:
        return NEGATIVE_CHUNK
    return None


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
