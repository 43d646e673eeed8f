"""Who is asked about what clients say and show, what is made of the answers, and what becomes of it when none comes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from prometheus_client import REGISTRY
from pydantic import BaseModel, Field, SecretStr, ValidationError
from structlog.testing import capture_logs

from cluster.commands import Dispatch
from cluster.moderation import gate as gate_module
from cluster.moderation.contents import MAX_CHARS, contents_of, together
from cluster.moderation.gate import Gate
from cluster.moderation.screen import Screen
from cluster.moderation.verdict import (
    Action,
    Context,
    Moderated,
    ModerationUnavailable,
    Picture,
    TooLongToModerate,
)
from cluster.settings import ModerationSettings
from models.contract import Command, Geometry, ModelSpec, Track, VideoFormat
from models.files import Upload
from tests.support.grants import granted
from tests.support.moderator import SECRET, ModerationServer
from wire import frames

pytestmark = pytest.mark.fast

GRANT = granted(tenant="key_a")
CONTEXT = Context("s1", "key_a", "echo", "set_shot")


def only(*denied: str, action: str = "warn") -> Callable[[dict[str, Any]], dict[str, Any]]:
    def verdict(asked: dict[str, Any]) -> dict[str, Any]:
        bad = any(word in asked.get("text", "") for word in denied)
        return {"action": action, "reason": "no", "categories": ["x"]} if bad else {"action": "allow"}

    return verdict


@pytest.fixture
def server():
    with ModerationServer(only("bad")) as running:
        yield running


@asynccontextmanager
async def gate_of(settings: ModerationSettings, clock: Callable[[], float] = lambda: 0.0) -> AsyncIterator[Gate]:
    made = Gate.of(settings)
    assert made is not None
    made._clock = clock
    yield made
    await made.close()


def counted(outcome: str, kind: str = "text") -> float:
    return REGISTRY.get_sample_value("llc_moderation_total", {"kind": kind, "outcome": outcome}) or 0.0


# --- the webhook ----------------------------------------------------------------------------------------------------


async def test_a_text_is_asked_about_signed_and_with_where_it_comes_from(server):
    async with gate_of(server.settings()) as gate:
        verdict = await gate.judge("a bad dune", CONTEXT)
    assert (verdict.action, verdict.reason, verdict.categories) == (Action.WARN, "no", ("x",))
    where = {"session_id": "s1", "account": "key_a", "model": "echo", "command": "set_shot"}
    assert server.asked == [{"kind": "text", "text": "a bad dune", **where}]
    assert server.forged == 0


async def test_a_picture_is_asked_about(server):
    async with gate_of(server.settings()) as gate:
        verdict = await gate.judge(Picture("image/png", b"bytes"), CONTEXT)
    assert verdict.action is Action.ALLOW
    assert server.asked[0]["kind"] == "image"
    assert server.asked[0]["image"] == {"mime_type": "image/png", "base64": "Ynl0ZXM="}


async def test_a_busy_service_is_asked_again_under_the_same_id(server):
    server.statuses = [503, 429]
    async with gate_of(server.settings()) as gate:
        assert (await gate.judge("fine", CONTEXT)).action is Action.ALLOW
        assert (await gate.judge("also fine", CONTEXT)).action is Action.ALLOW
    assert len(server.asked) == 4
    assert len(set(server.ids)) == 2
    assert server.forged == 0


@pytest.mark.parametrize(
    ("answer", "asked"),
    [
        ({"statuses": [500] * 9}, 3),
        ({"statuses": [403]}, 1),
        ({"statuses": [204]}, 1),
        ({"statuses": [302], "location": "http://127.0.0.1:1/inside"}, 1),
        ({"raw": b""}, 1),
        ({"raw": b"allow"}, 1),
        ({"raw": b'{"action": "permit"}'}, 1),
        ({"raw": b'{"reason": "fine"}'}, 1),
        ({"raw": b'[{"action": "allow"}]'}, 1),
        ({"raw": b'{"action": "allow", "reason": "' + b"x" * 70_000 + b'"}'}, 1),
    ],
)
@pytest.mark.parametrize("fail", ["closed", "open"])
async def test_no_verdict_is_none_and_the_setting_says_what_becomes_of_it(server, answer, asked, fail):
    for name, value in answer.items():
        setattr(server, name, list(value) if isinstance(value, list) else value)
    outcome = {"closed": "unavailable", "open": "passed_unseen"}[fail]
    before = counted(outcome)
    with capture_logs() as lines:
        async with gate_of(server.settings(fail=fail)) as gate:
            refused = await Screen(gate, GRANT).check(["a secret dune"], "set_shot")
    assert isinstance(refused, ModerationUnavailable) == (fail == "closed")
    assert len(server.asked) == asked
    assert counted(outcome) == before + 1
    assert [line["event"] for line in lines] == ["moderator_unavailable"]
    assert "secret" not in str(lines)


async def test_a_service_that_hangs_or_is_away_is_given_up(server):
    server.gate.clear()
    async with gate_of(server.settings(timeout_s=0.02, attempts=2)) as gate:
        assert await gate.judge("fine", CONTEXT) is None
    server.gate.set()
    gone = server.settings(attempts=2).model_copy(update={"webhook_url": "http://127.0.0.1:1/"})
    async with gate_of(gone) as gate:
        assert await gate.judge("fine", CONTEXT) is None


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"webhook_url": "https://moderator.example"}, "needs the secret"),
        ({"webhook_url": "http://moderator.example", "webhook_secret": SECRET}, "not an https URL"),
        ({"webhook_url": "moderator", "webhook_secret": SECRET}, "not an https URL"),
        ({"webhook_secret": SECRET.removeprefix("whsec_")}, "not whsec_"),
        ({"webhook_secret": "whsec_c2hvcnQ="}, "not whsec_"),
        ({"webhook_secret": "whsec_~~~"}, "not whsec_"),
        ({"fail": "maybe"}, "closed"),
    ],
)
def test_settings_that_would_let_others_read_or_answer_stop_start_up(changes, says):
    with pytest.raises(ValidationError, match=says) as refused:
        ModerationSettings(**changes)
    assert "c2hvcnQ" not in str(refused.value).partition("input_value")[0]


def test_it_is_off_unless_the_settings_name_somebody():
    assert Gate.of(ModerationSettings()) is None
    assert Gate.of(ModerationSettings(webhook_secret=SecretStr(SECRET))) is None


# --- what is remembered ---------------------------------------------------------------------------------------------


async def test_equal_contents_of_an_account_are_asked_about_once_for_a_while(server):
    now = [0.0]
    async with gate_of(server.settings(cache_ttl_s=60), lambda: now[0]) as gate:
        before = counted("warn")
        for _ in range(3):
            assert (await gate.judge("a bad dune", CONTEXT)).action is Action.WARN
        assert len(server.asked) == 1
        assert counted("warn") == before + 3
        await gate.judge("a bad dune", Context("s1", "key_b", "echo", "set_shot"))
        await gate.judge("a bad dune", Context("s2", "key_a", "echo", "scene_cut"))
        await gate.judge("a bad dune", Context("s2", "key_a", "echo", "set_shot"))
        assert len(server.asked) == 3, "another account and another command are; another session is not"
        now[0] = 60.0
        await gate.judge("a bad dune", CONTEXT)
        assert len(server.asked) == 4
        assert b"dune" not in b"".join(gate._remembered)


async def test_what_is_remembered_is_bounded_and_failures_are_not_remembered(server, monkeypatch):
    monkeypatch.setattr(gate_module, "MAX_REMEMBERED", 2)
    async with gate_of(server.settings()) as gate:
        for text in "abc":
            await gate.judge(text, CONTEXT)
        assert len(gate._remembered) == 2
        server.statuses = [403]
        assert await gate.judge("d", CONTEXT) is None
        assert (await gate.judge("d", CONTEXT)).action is Action.ALLOW


async def test_the_list_is_asked_before_the_webhook(server, tmp_path):
    (tmp_path / "deny.txt").write_text("grenade")
    async with gate_of(server.settings(deny_list=tmp_path / "deny.txt")) as gate:
        assert (await gate.judge("a grenade", CONTEXT)).categories == ("deny_list",)
        assert server.asked == []
        assert (await gate.judge("a bad dune", CONTEXT)).categories == ("x",)


# --- what is looked at ----------------------------------------------------------------------------------------------


class Beat(BaseModel):
    prompt: str
    files: list[Upload] = Field(default_factory=list)


class Storyboard(Command):
    """Many prompts, deep down."""

    title: str = "untitled"
    beats: list[Beat] = Field(default_factory=list)
    notes: dict[str, list[dict[str, str]]] = Field(default_factory=dict)
    cover: Upload | None = None
    at: int = 0


SPEC = ModelSpec(
    name="echo",
    description="",
    tracks=(Track("main_video", "video", "out", VideoFormat(16, 16, 24)),),
    commands=(Storyboard,),
    messages=(),
    geometry=Geometry(1, 1),
)
FILES = {
    "p": Upload("p", "first name", "image/png", b"picture"),
    "t": Upload("t", "second name", "text/plain", b"a written page"),
}


def contents(data: dict[str, Any], files: dict[str, Upload] | None = None) -> list[Any]:
    dispatch = Dispatch(SPEC, None)  # type: ignore[arg-type]
    return list(dispatch.contents(frames.Command("storyboard", data), files or {}))


def test_every_string_and_file_of_a_command_is_found_however_deep():
    data = {
        "title": "zero",
        "beats": [{"prompt": "one"}, {"prompt": "two", "files": [{"upload_id": "p"}, {"upload_id": "t"}]}],
        "notes": {"three": [{"four": "five"}], "six": []},
        "cover": {"upload_id": "p"},
        "at": 7,
    }
    words = {"zero", "one", "two", "three", "four", "five", "six", "first name", "second name", "a written page"}
    found = contents(data, FILES)
    assert {each for each in found if isinstance(each, str)} == words
    assert [each for each in found if not isinstance(each, str)] == [Picture("image/png", b"picture")] * 2


@pytest.mark.parametrize(
    "data",
    [
        {"title": 5},
        {"unknown": "a bad dune"},
        {"cover": {"upload_id": "gone"}, "title": "bad"},
        {"beats": [{"prompt": "x", "seed": ["bad"]}], "at": "x"},
    ],
)
def test_nothing_is_looked_at_that_is_refused_anyway(data):
    assert contents(data) == []


def test_texts_are_looked_at_together_each_once_in_their_order():
    picture = Picture("image/png", b"")
    assert together(["a", "b", picture, "a", " ", "c"]) == ["a\nb\nc", picture]
    long = "x" * (MAX_CHARS - 2)
    pages = together(["a", long, "b", "c"])
    assert "\n".join(pages) == "\n".join(["a", long, "b", "c"])
    assert max(map(len, pages)) <= MAX_CHARS
    with pytest.raises(TooLongToModerate):
        together(["x" * (MAX_CHARS + 1)])


def test_a_value_of_an_unusual_type_is_looked_at_as_it_would_be_written():
    class Odd:
        pass

    assert list(contents_of({"when": {("a", "b"), frozenset({"c"})}})).count("c") == 1
    with pytest.raises(Exception, match="serialize unknown type"):
        list(contents_of([Odd()]))


# --- what becomes of it ---------------------------------------------------------------------------------------------


async def test_the_severest_of_several_verdicts_counts(server):
    def verdict(asked: dict[str, Any]) -> dict[str, Any]:
        if asked["kind"] == "image":
            return {"action": "terminate", "reason": "that picture"}
        return {"action": "warn", "reason": "that word"}

    server.verdict = verdict
    async with gate_of(server.settings()) as gate:
        screen = Screen(gate, GRANT)
        refused = await screen.check(["a", Picture("image/png", b"")], "set_image")
    assert isinstance(refused, Moderated)
    assert (refused.kind, str(refused), refused.code) == ("image", "that picture", "moderated")
    notice = screen.count(refused, "set_image")
    assert (notice.action, notice.input_kind, notice.command) == ("terminate", "image", "set_image")
    assert screen.warnings == 0


async def test_warnings_are_counted_and_the_one_too_many_ends_it(server):
    async with gate_of(server.settings(max_warnings=1)) as gate:
        screen = Screen(gate, GRANT)
        notices = []
        for _ in range(2):
            refused = await screen.check(["bad"], "set_shot")
            assert isinstance(refused, Moderated)
            notices.append(screen.count(refused, "set_shot"))
    assert [notice.action for notice in notices] == ["warn", "terminate"]
    assert notices[0].message == "no (warning 1, 1 are allowed)"


async def test_one_content_that_cannot_be_looked_at_refuses_the_others_too(server):
    server.verdict = lambda asked: {"action": "allow"} if asked["kind"] == "text" else {"action": "?"}
    async with gate_of(server.settings()) as gate:
        refused = await Screen(gate, GRANT).check(["fine", Picture("image/png", b"")], "set_image")
    assert isinstance(refused, ModerationUnavailable)


async def test_a_text_too_long_to_be_looked_at_is_refused(server):
    async with gate_of(server.settings()) as gate:
        refused = await Screen(gate, GRANT).check(["x" * (MAX_CHARS + 1)], "set_shot")
    assert isinstance(refused, TooLongToModerate)
    assert server.asked == []


async def test_logs_have_neither_texts_nor_reasons(server):
    with capture_logs() as lines:
        async with gate_of(server.settings()) as gate:
            await gate.judge("a bad secret", CONTEXT)
    assert [line["event"] for line in lines] == ["moderated"]
    assert not {"a bad secret", "no", "secret"} & {str(value) for line in lines for value in line.values()}
