"""Commands of one connection: strictly in order, whatever one of them waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from cluster.attachments import UnresolvedUpload
from cluster.inbox import Files, Inbox
from cluster.tasks import Tasks
from models.files import Upload
from tests.support.waiting import eventually, settle
from wire.frames import Command

pytestmark = pytest.mark.fast


class Desk:
    """An inbox of three, and what became of the commands; a command's `needs` names the files that it waits for."""

    def __init__(self) -> None:
        self.events: list[object] = []
        self.fetched: list[str] = []
        self.files: dict[str, asyncio.Future[Upload]] = {}
        self.tasks = Tasks("test")
        self.inbox = Inbox(
            files=lambda command: command.data.get("needs", ()),
            fetch=self._fetch,
            dispatch=self._dispatch,
            refuse=lambda command, refused: self.events.append((command.name, refused.code, str(refused))),
            limit=3,
            tasks=self.tasks,
        )

    def put(self, name: str, *needs: str) -> None:
        for file in needs:
            self.files.setdefault(file, asyncio.get_running_loop().create_future())
        self.inbox.put(Command(name, {"needs": needs} if needs else {}))

    def arrive(self, file: str) -> None:
        self.files[file].set_result(Upload(file, "", "image/png", b""))

    async def _fetch(self, needed: Sequence[str], since: float) -> Files:
        assert since <= asyncio.get_running_loop().time()
        self.fetched += needed
        return {file: await self.files[file] for file in needed}

    def _dispatch(self, command: Command, files: Files, since: float) -> None:
        assert since <= asyncio.get_running_loop().time()
        assert tuple(files) == command.data.get("needs", ())
        if command.name == "explodes":
            raise ZeroDivisionError
        self.events.append(command.name)


@pytest.fixture
async def desk():
    desk = Desk()
    yield desk
    await desk.tasks.close()


async def test_a_command_without_files_is_dispatched_where_it_arrives(desk: Desk):
    desk.put("a")
    desk.put("b")
    assert desk.events == ["a", "b"]
    assert len(desk.tasks) == 0


async def test_nothing_overtakes_a_command_that_waits(desk: Desk):
    desk.put("a")
    desk.put("picture", "f")
    desk.put("b")
    desk.put("another", "g")
    desk.arrive("g")
    await settle()
    assert desk.events == ["a"]
    assert desk.fetched == ["f"], "files of one command at a time: they are held in memory"
    desk.arrive("f")
    await eventually(lambda: len(desk.events) == 4)
    assert desk.events == ["a", "picture", "b", "another"]
    desk.put("c")
    assert desk.events[-1] == "c", "the way is short again"


async def test_a_file_that_is_not_to_be_had_costs_its_command_alone(desk: Desk):
    desk.put("picture", "f")
    desk.put("b")
    desk.put("another", "g")
    desk.files["f"].set_exception(UnresolvedUpload("gone"))
    desk.arrive("g")
    await eventually(lambda: len(desk.events) == 3)
    assert desk.events == [("picture", "unresolved_upload", "gone"), "b", "another"]


async def test_too_many_that_wait_are_refused_at_once_and_the_others_go_on(desk: Desk):
    desk.put("picture", "f")
    await settle()
    for name in "abcde":
        desk.put(name)
    refused = [(name, "too_many_commands", "3 commands wait already") for name in "de"]
    assert desk.events == refused
    desk.arrive("f")
    await eventually(lambda: len(desk.events) == 6)
    assert desk.events == [*refused, "picture", "a", "b", "c"]


async def test_closed_it_drops_what_waits(desk: Desk):
    desk.put("picture", "f")
    desk.put("b")
    await settle()
    desk.inbox.close()
    await eventually(lambda: len(desk.tasks) == 0)
    assert desk.events == []
    desk.inbox.close()


@pytest.mark.parametrize("found", [True, False])
async def test_closed_it_dispatches_nothing_even_if_the_fetch_goes_on(desk: Desk, found: bool):
    fetch = desk._fetch

    async def stubborn(needed: Sequence[str], since: float) -> Files:
        try:
            return await asyncio.shield(fetch(needed, since))
        except asyncio.CancelledError:  # as a library that loses it
            return await fetch(needed, since)

    desk.inbox._fetch = stubborn
    desk.put("picture", "f")
    await settle()
    desk.inbox.close()
    await settle()
    if found:
        desk.arrive("f")
    else:
        desk.files["f"].set_exception(UnresolvedUpload("gone"))
    await eventually(lambda: len(desk.tasks) == 0)
    assert desk.events == []


async def test_an_unforeseen_failure_costs_one_command(desk: Desk):
    desk.put("explodes", "f")
    desk.put("b")
    desk.arrive("f")
    desk.put("c")
    await eventually(lambda: len(desk.events) == 2)
    assert desk.events == ["b", "c"]
