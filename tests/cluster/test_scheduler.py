"""When chunks start: against a playout whose clock the test moves, and a model that writes down what it is told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest

from cluster.scheduler import MARGIN_S
from models.media import VideoFrames
from tests.support.scheduling import CHUNK_S, FPS, FRAMES, Begun, Bench, Device, Ended, in_order
from tests.support.waiting import eventually, settle

pytestmark = pytest.mark.fast

MakeBench = Callable[..., Bench]


@pytest.fixture
async def device() -> AsyncIterator[Device]:
    made = Device()
    yield made
    made.executor.shutdown()


@pytest.fixture
async def make_bench(device: Device) -> AsyncIterator[MakeBench]:
    """Benches that share a device."""
    made: list[Bench] = []

    def make(offload_after_s: float | None = None) -> Bench:
        made.append(Bench(device, offload_after_s))
        return made[-1]

    yield make
    for bench in made:
        await bench.stop()


@pytest.fixture
async def bench(make_bench: MakeBench) -> Bench:
    return make_bench()


async def test_nothing_happens_until_someone_watches(bench):
    bench.direct("dunes")
    await settle()
    assert bench.director.asked == 0
    bench.scheduler.set_watched(True)
    await bench.chunks(1)
    assert bench.begun() == [0]


async def test_at_most_one_chunk_is_queued_and_verbs_come_in_order(bench):
    bench.direct("dunes")
    bench.scheduler.set_watched(True)
    for count in range(1, 6):
        await bench.chunks(count)
        assert bench.begun() == list(range(count)), "the next chunk waits for playout"
        bench.playout.play(CHUNK_S)
    await bench.chunks(6)
    assert bench.playout.most_s <= CHUNK_S + bench.scheduler.lead_s
    assert bench.playout.pushed == [chunk for chunk in range(6) for _ in range(FRAMES)]
    assert in_order(bench.stream.verbs, 6)
    assert len(bench.state) == 6, "the stream's state is of the boundary just crossed"
    assert threading.get_ident() not in bench.stream.threads
    assert bench.sound.samples == 6 * 480
    assert [m.frames for m in bench.said if isinstance(m, Ended)] == [FRAMES] * 6


async def test_the_next_chunk_is_planned_when_just_its_first_picture_is_left_to_wait_for(bench):
    assert bench.scheduler.lead_s == CHUNK_S, "nothing is known yet"
    bench.direct("dunes")
    bench.scheduler.set_watched(True)
    await bench.chunks(1)
    lead = bench.scheduler.lead_s
    assert MARGIN_S < lead < CHUNK_S
    over = bench.playout.queued_s - lead
    bench.playout.play(over - 1 / FPS)
    await settle()
    assert bench.begun() == [0], "there is more left to play than the lead"
    bench.playout.play(2 / FPS)
    await bench.chunks(2)
    assert bench.begun() == [0, 1]


async def test_the_lead_is_the_slow_end_of_what_chunks_took_and_at_most_a_chunk(bench):
    for _ in range(18):
        bench.scheduler._note_first(0.1)
    for _ in range(2):
        bench.scheduler._note_first(0.7)
    assert bench.scheduler.lead_s == pytest.approx(0.7 + MARGIN_S)
    bench.scheduler._note_first(0.1)
    bench.scheduler._note_first(0.1)
    for _ in range(20):
        bench.scheduler._note_first(0.1)
    assert bench.scheduler.lead_s == pytest.approx(0.1 + MARGIN_S), "old chunks are forgotten"
    for _ in range(20):
        bench.scheduler._note_first(60.0)
    assert bench.scheduler.lead_s == CHUNK_S


async def test_commands_are_sampled_after_the_wait(bench):
    bench.direct("dunes")
    bench.scheduler.set_watched(True)
    await bench.chunks(1)
    bench.direct("a storm")
    bench.input = {"webcam": VideoFrames("webcam", np.zeros((1, 16, 16, 3), np.uint8))}
    await settle()
    assert bench.begun() == [0], "the wait goes on"
    bench.playout.play(CHUNK_S)
    await bench.chunks(2)
    assert [m.prompt for m in bench.said if isinstance(m, Begun)] == ["dunes", "a storm"]
    assert [sorted(inputs) for inputs in bench.stream.inputs] == [[], ["webcam"]]


async def test_a_chunk_is_announced_before_it_is_made_and_counted_after(bench):
    gate = bench.stream.hold("generate")
    bench.direct("dunes")
    bench.scheduler.set_watched(True)
    await eventually(lambda: "generate" in bench.stream.inside)
    assert bench.said == [Begun(run=0, chunk=0, prompt="dunes")]
    gate.set()
    await bench.chunks(1)
    assert bench.said[1:] == [Ended(chunk=0, frames=FRAMES)]


async def test_pictures_are_shown_while_the_chunk_is_still_decoded(bench):
    gate = bench.stream.hold("decode 3")
    bench.direct("dunes")
    bench.scheduler.set_watched(True)
    await eventually(lambda: len(bench.playout.pushed) == 6)
    assert bench.completed == 0
    gate.set()
    await bench.chunks(1)


async def test_pictures_are_shown_while_the_chunk_is_still_committed(bench):
    gate = bench.stream.hold("commit")
    bench.direct("dunes")
    bench.scheduler.set_watched(True)
    await eventually(lambda: len(bench.playout.pushed) == FRAMES)
    assert "commit" in bench.stream.inside
    assert bench.completed == 0, "the chunk is not complete before it is committed"
    gate.set()
    await bench.chunks(1)


async def test_generation_rests_while_nobody_watches(bench):
    bench.direct("dunes")
    bench.scheduler.set_watched(True)
    await bench.chunks(1)
    bench.scheduler.set_watched(False)
    bench.playout.play(CHUNK_S)
    await settle()
    assert bench.begun() == [0], "the last viewer left while the chunk was playing"
    bench.scheduler.set_watched(True)
    await bench.chunks(2)
    assert bench.begun() == [0, 1]


async def test_a_paused_director_is_asked_again_only_after_news(bench):
    bench.scheduler.set_watched(True)
    await eventually(lambda: bench.director.asked == 1)
    await settle()
    assert bench.director.asked == 1
    bench.scheduler.wake()
    await eventually(lambda: bench.director.asked == 2)
    await settle()
    assert bench.director.asked == 2
    bench.direct("dunes")
    await bench.chunks(1)


async def test_it_says_whether_there_is_something_to_play_and_what_was_made(bench):
    bench.scheduler.set_watched(True)
    await eventually(lambda: bench.work.said == [False])
    bench.direct("dunes")
    await bench.chunks(1)
    bench.direct("")
    bench.playout.play(CHUNK_S)
    await eventually(lambda: bench.work.said == [False, True, FRAMES, False])
    assert bench.work.busy_s > 0


async def test_news_during_a_chunk_is_not_lost(bench):
    gate = bench.stream.hold("commit")
    bench.direct("dunes")
    bench.scheduler.set_watched(True)
    await eventually(lambda: "commit" in bench.stream.inside)
    bench.direct("")
    bench.direct("a storm")
    gate.set()
    bench.playout.play(CHUNK_S)
    await bench.chunks(1)
    bench.playout.play(CHUNK_S)
    await bench.chunks(2)


async def test_media_of_an_abandoned_run_is_dropped(bench):
    gate = bench.stream.hold("decode 5")
    bench.direct("dunes")
    bench.scheduler.set_watched(True)
    await eventually(lambda: len(bench.playout.pushed) == 10)
    bench.reset()
    assert bench.playout.queued == 0
    bench.direct("a storm")
    gate.set()
    await bench.chunks(2)
    assert bench.playout.pushed == [0] * 10 + [0] * FRAMES
    assert bench.sound.samples == 480, "neither is its sound heard"
    assert bench.said == [
        Begun(run=0, chunk=0, prompt="dunes"),
        Begun(run=1, chunk=0, prompt="a storm"),
        Ended(chunk=0, frames=FRAMES),
    ]
    assert in_order(bench.stream.verbs, 2), "the abandoned chunk is made to its end"


async def test_a_reset_while_the_thread_has_the_picture_in_hand(bench):
    """A picture that the thread has handed over and the loop has not yet taken is old as well."""
    gate = bench.stream.hold("decode 1")
    bench.direct("dunes")
    bench.scheduler.set_watched(True)
    await eventually(lambda: len(bench.playout.pushed) == 2)
    gate.set()
    while not in_order(bench.stream.verbs, 1):  # the loop stands still while the thread finishes
        pass
    bench.director.prompt = ""
    bench.reset()
    await bench.chunks(1)
    assert bench.playout.queued == 0
    assert bench.playout.pushed == [0, 0]


async def test_cancelled_during_a_chunk_it_waits_for_the_thread(bench, make_bench):
    gate = bench.stream.hold("generate")
    bench.direct("dunes")
    bench.scheduler.set_watched(True)
    await eventually(lambda: "generate" in bench.stream.inside)
    other = make_bench()
    other.direct("a storm")
    other.scheduler.set_watched(True)
    bench.task.cancel()
    await settle()
    assert not bench.task.done(), "the thread is still at work on the stream"
    assert other.stream.verbs == [], "nor is the device free"
    gate.set()
    await asyncio.wait([bench.task])
    bench.stream.closed = True
    assert bench.task.cancelled()
    assert in_order(bench.stream.verbs, 1)
    await other.chunks(1)


async def test_sessions_share_the_device_chunk_by_chunk(make_bench):
    one, two = make_bench(), make_bench()
    for bench in (one, two):
        bench.direct("dunes")
        bench.scheduler.set_watched(True)
    for count in (1, 2, 3):
        await one.chunks(count)
        await two.chunks(count)
        one.playout.play(CHUNK_S)
        two.playout.play(CHUNK_S)
    assert in_order(one.stream.verbs, 3)
    assert in_order(two.stream.verbs, 3)


@pytest.mark.parametrize("verb", ["prepare", "generate", "decode 4", "commit"])
async def test_a_failing_verb_ends_the_loop_and_frees_the_device(bench, make_bench, verb):
    bench.stream.fail_in = verb
    bench.direct("dunes")
    bench.scheduler.set_watched(True)
    await asyncio.wait([bench.task], timeout=10)
    assert isinstance(bench.task.exception(), ArithmeticError)
    assert bench.completed == 0
    other = make_bench()
    other.direct("a storm")
    other.scheduler.set_watched(True)
    await other.chunks(1)


# --- streams that rest ----------------------------------------------------------------------------------------------


async def rested(make_bench: MakeBench) -> Bench:
    """A bench that has made a chunk, and whose stream has left the device."""
    bench = make_bench(offload_after_s=0)
    bench.direct("dunes")
    bench.scheduler.set_watched(True)
    await bench.chunks(1)
    bench.direct("")
    bench.playout.play(CHUNK_S)
    await eventually(lambda: bench.seat.offloaded)
    return bench


async def test_a_stream_that_rests_leaves_the_device_and_comes_back_as_it_was(make_bench, device):
    bench = await rested(make_bench)
    assert bench.stream.closed
    assert device.load.wait_s == 0
    assert await bench.seat.export() == b"all"
    bench.scheduler.wake()  # a change of plans alone
    await settle()
    assert (len(bench.streams), bench.begun()) == (1, [0])
    bench.direct("a storm")
    await bench.chunks(2)
    assert bench.begun() == [0, 1]
    assert bench.stream.verbs[:4] == ["restore a", "restore l", "restore l", "prepare"]
    assert len(bench.streams) == 2


async def test_others_have_their_turns_while_a_stream_is_brought_back(make_bench):
    bench = await rested(make_bench)
    other = make_bench()
    other.direct("a harbour")
    other.scheduler.set_watched(True)
    await other.chunks(1)
    chunk = other.stream.hold("generate")
    other.playout.play(CHUNK_S)
    await eventually(lambda: "generate" in other.stream.inside)
    bench.direct("a storm")
    await eventually(lambda: len(bench.streams) == 2)
    step = bench.stream.hold("restore a")
    chunk.set()
    await eventually(lambda: "restore a" in bench.stream.inside)
    again = other.stream.hold("prepare")
    other.playout.play(CHUNK_S)
    await eventually(lambda: other.begun() == [0, 1, 2])
    step.set()
    await eventually(lambda: "prepare" in other.stream.inside)
    assert bench.stream.verbs == ["restore a"]
    again.set()
    await bench.chunks(2)


async def test_a_stream_that_nobody_watches_leaves_the_device(make_bench):
    bench = make_bench(offload_after_s=0)
    bench.direct("dunes")
    bench.scheduler.set_watched(True)
    await bench.chunks(1)
    bench.scheduler.set_watched(False)
    bench.playout.play(CHUNK_S)
    await eventually(lambda: bench.seat.offloaded)
    bench.scheduler.set_watched(True)
    await bench.chunks(2)
    assert bench.begun() == [0, 1]


async def test_a_stream_stays_where_nobody_could_use_its_room(make_bench):
    bench = make_bench(offload_after_s=None)
    await settle()
    assert not bench.seat.offloaded


async def test_who_finds_no_room_on_its_return_says_so_and_returns_when_there_is_some(make_bench, device):
    bench = await rested(make_bench)
    others = [make_bench(), make_bench()]
    assert not bench.seat.room
    told = device.told
    bench.direct("a storm")
    await eventually(lambda: bench.seat.stranded)
    assert device.told == told + 1
    await settle()
    assert bench.begun() == [0], "its chunk is not begun where it cannot be made"
    bench.direct("")
    await eventually(lambda: not bench.seat.stranded)
    bench.direct("a storm")
    await eventually(lambda: bench.seat.stranded)
    await others[0].stop()
    others[0].seat.close()
    bench.scheduler.wake()
    await bench.chunks(2)
    assert not bench.seat.stranded


async def test_what_others_take_is_waited_for_in_time(make_bench, device):
    one = make_bench()
    device.load.note(0.5)
    one.scheduler._note_first(0.1)
    assert one.scheduler.lead_s == pytest.approx(0.1 + MARGIN_S)
    make_bench()
    assert one.scheduler.lead_s == pytest.approx(0.1 + 0.5 + MARGIN_S)
