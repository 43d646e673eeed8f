"""What the log says of a session: its ids, and nothing of what people said."""

from __future__ import annotations

import json

import pytest
from structlog.testing import capture_logs

from cluster import logs
from cluster.errors import NotFound
from cluster.settings import PoolSettings

LONGLIVE = PoolSettings(model="longlive-v2", min_warm=1)
TENANT = "key_tenant"
WORDS = "an unmistakable prompt"


@pytest.mark.media
async def test_no_prompt_reaches_the_log_and_sessions_have_ids(launch):
    with capture_logs() as lines:
        scene = launch(LONGLIVE)
        session_id = await scene.opened("longlive-v2")
        viewer = await scene.join(session_id)
        viewer.command("set_shot", {"prompt": WORDS})
        viewer.command("set_shot", {"prompt": [WORDS]})
        viewer.command("schedule_shot", {"prompt": WORDS, "at_session_chunk": -1})
        viewer.command(WORDS, {WORDS: WORDS})
        viewer.send("data", f"{{{WORDS}")
        viewer.send("control", f'{{"type": "notification", "event": "resume_track", "data": {{"name": "{WORDS}"}}}}')
        viewer.command("start")
        await viewer.message("chunk_complete")
        await scene.client.delete_session(TENANT, session_id, WORDS)
        await viewer.message("sessionEnded")
    said = {line["event"] for line in lines}
    assert {"granted", "session_opened", "connection_opened", "unreadable_frame", "unknown_track"} <= said
    assert WORDS not in repr(lines)
    of_a_session = [
        line for line in lines if line["event"].startswith(("session_", "connection_", "unreadable", "unknown"))
    ]
    assert all(line["session_id"] == session_id for line in of_a_session)
    assert all("connection_id" in line for line in lines if line["event"].startswith("connection_"))


@pytest.mark.fast
def test_lines_are_json_with_the_process_ids(capfd):
    import logging

    import structlog

    before = structlog.get_config()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        logs.configure("INFO", worker_id="w-1")
        structlog.get_logger("test").info("happened", session_id="s-1")
        structlog.get_logger("test").debug("not shown")
        logging.getLogger("library").warning("careful")
    finally:
        structlog.configure(**before)
        root.handlers[:], root.level = handlers, level
    ours, theirs = (json.loads(line) for line in capfd.readouterr().err.splitlines())
    assert (ours["event"], ours["worker_id"], ours["session_id"], ours["level"]) == ("happened", "w-1", "s-1", "info")
    assert (theirs["event"], theirs["worker_id"], theirs["logger"]) == ("careful", "w-1", "library")


@pytest.mark.fast
def test_a_failure_is_told_with_its_stack_and_without_what_a_client_wrote() -> None:
    def parse(text: str) -> int:
        try:
            return int(text)
        except ValueError as error:
            raise RuntimeError("out of memory") from error

    try:
        parse(WORDS)
    except RuntimeError as error:
        told = logs.told((type(error), error, error.__traceback__))
    assert WORDS not in told
    assert told.index("ValueError") < told.index("led to:") < told.index("RuntimeError: out of memory")
    assert "return int(text)" in told


@pytest.mark.fast
def test_an_error_of_ours_keeps_its_text() -> None:
    error = NotFound("no such session")
    assert logs.told((NotFound, error, None)) == "NotFound: no such session"
