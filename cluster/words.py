"""A worker's word on itself, looked at before it is believed.

Ray hands on whatever a worker has pickled, and that worker may be of another version, or broken. Which sessions are
its own is not judged here: by their epochs the registry decides that.
"""

from __future__ import annotations

from collections.abc import Awaitable

from pydantic import ValidationError

from cluster.api import WorkerGone, WorkerStatus


class NoWord(Exception):
    """What a worker has answered is not its status: it is of no use."""


async def word_of(name: str, model: str, asked: Awaitable[object]) -> WorkerStatus:
    """What the worker `name` of a model's pool answers, with defaults for what its version does not know.

    Raises:
        WorkerGone: it has ended.
        NoWord: it has failed to answer, with a status of another worker or pool, or with none.
    """
    try:
        answer = await asked
    except WorkerGone:
        raise
    except Exception as failure:  # what fails in one worker must not end the allocator, and with it all pools
        raise NoWord(f"{type(failure).__name__} in place of a status") from failure
    try:
        status = WorkerStatus.model_validate(answer)
    except ValidationError as failure:
        wrong = {".".join(map(str, error["loc"])) or "all of it" for error in failure.errors(include_input=False)}
        raise NoWord(f"no status: {', '.join(sorted(wrong))}") from None
    if (status.name, status.model) != (name, model):
        raise NoWord("the status of another worker or pool")
    return status
