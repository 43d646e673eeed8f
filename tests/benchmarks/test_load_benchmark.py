"""The load test's arithmetic, against cases worked by hand."""

from __future__ import annotations

import itertools
import json
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.load import arrivals
from benchmarks.load.figures import LEAST_S, WARM_S, Span, Viewed, measured, nearest_rank
from benchmarks.load.playback import Player, Stall, freezes
from benchmarks.load.profile import table
from benchmarks.load.seen import Control, Seen
from benchmarks.load.setting import BadSetting, Setting
from benchmarks.load.step import Step, Used, limit
from benchmarks.load.trace import FOLDER, BadTrace, Trace

pytestmark = pytest.mark.fast

FPS = 10.0


# --- the simulated player


def test_an_even_stream_never_stalls():
    pictures = [(0.1 * n, n) for n in range(50)]
    assert Player(FPS, 0.3).stalls(pictures, until=5.0) == []


def test_a_late_picture_stalls_until_the_buffer_is_filled_again():
    """Three pictures of buffer: playing begins at 0.2, so picture 5 is due at 0.7. It comes at 1.0, and two more until
    1.2 make playing go on."""
    pictures = [(0.0, 0), (0.1, 1), (0.2, 2), (0.3, 3), (0.4, 4), (1.0, 5), (1.1, 6), (1.2, 7), (1.3, 8)]
    (stall,) = Player(FPS, 0.3).stalls(pictures, until=1.4)
    assert stall == pytest.approx(Stall(0.7, 0.5))


def test_a_burst_fills_the_buffer_at_once():
    """Played from 0 on, dry at 0.3; three come together at 0.5."""
    pictures = [(0.0, 0), (0.0, 1), (0.0, 2), (0.5, 3), (0.5, 4), (0.5, 5)]
    (stall,) = Player(FPS, 0.3).stalls(pictures, until=0.6)
    assert stall == pytest.approx(Stall(0.3, 0.2))


def test_a_picture_that_never_comes_is_not_waited_for():
    pictures = [(0.1 * n, n) for n in range(20) if n != 7]
    assert Player(FPS, 0.2).stalls(pictures, until=2.0) == []


def test_the_end_of_a_stream_is_a_stall():
    """Two of buffer: shown from 0.1 on, so the last of five ends at 0.6."""
    pictures = [(0.1 * n, n) for n in range(5)]
    (stall,) = Player(FPS, 0.2).stalls(pictures, until=2.0)
    assert stall == pytest.approx(Stall(0.6, 1.4))


def test_a_player_that_never_starts_has_no_stall():
    assert Player(FPS, 1.0).stalls([(0.0, 0), (3.0, 1)], until=9.0) == []


def test_freezes_are_those_of_webrtcs_statistics():
    """With gaps of 40 ms a freeze is one of 190 ms or more; with gaps of 100 ms, of three times as much."""
    even = list(itertools.accumulate([0.04] * 40))
    assert freezes([*even, even[-1] + 0.18]) == []
    (freeze,) = freezes([*even, even[-1] + 0.2])
    assert freeze == pytest.approx(Stall(even[-1], 0.2))
    slow = list(itertools.accumulate([0.1] * 40))
    assert freezes([*slow, slow[-1] + 0.29]) == []
    assert len(freezes([*slow, slow[-1] + 0.31])) == 1


# --- figures


def test_percentiles_are_of_the_nearest_rank():
    values = [15, 20, 35, 40, 50]
    assert [nearest_rank(values, percent) for percent in (5, 30, 40, 50, 100)] == [15, 20, 20, 35, 50]
    assert nearest_rank(list(range(1, 101)), 99) == 99
    assert nearest_rank([3.0], 50) == nearest_rank([3.0], 99) == 3.0


def _seen(first: float, left: float, **more: Any) -> Seen:
    pictures = [(first + n / 24, n) for n in range(int((left - first) * 24))]
    return Seen(role="director", asked=first - 0.5, answered=first - 0.3, left=left, pictures=pictures, **more)


def test_warm_up_is_left_out():
    window = Span(10.0, 40.0)
    assert measured(_seen(2.0, 50.0), window) == window, "warm before the window began"
    assert measured(_seen(8.0, 50.0), window) == Span(8.0 + WARM_S, 40.0)
    assert measured(_seen(20.0, 33.0), window) == Span(20.0 + WARM_S, 33.0), "left before its end"
    assert measured(_seen(20.0, 20.0 + WARM_S + LEAST_S - 0.1), window) is None, "too short"
    assert measured(Seen(role="viewer", asked=0.0), window) is None, "never saw a picture"


def test_what_came_in_the_window_is_counted():
    """30 s at 24 fps; commands of the warm-up and of the last seconds are not waited for."""
    shown = [(6.0, 7.0), (12.0, 13.5), (20.0, None), (38.0, None)]
    controls = [Control(sent=sent, shown=at) for sent, at in shown]
    seen = _seen(2.0, 50.0, controls=controls, firsts=list(range(29, 1000, 29)))
    viewed = Viewed.of([seen, Seen(role="viewer", asked=1.0, failure="TimeoutError: ")], Span(10.0, 40.0), 0.2)
    assert (viewed.directors, viewed.viewers, viewed.failures) == (1, 0, ("TimeoutError: ",))
    assert (viewed.control_s, viewed.unseen) == ((1.5,), 1)
    assert viewed.first_picture_s == (0.5,)
    assert viewed.fps == pytest.approx((24.0,), abs=0.1)
    assert (viewed.boundaries, viewed.late, viewed.freezes, viewed.underruns) == (25, 0, 0, 0)
    assert viewed.playing == 1.0


def test_a_late_chunk_is_seen_by_the_strip():
    """Chunks of 29 pictures; from picture 290 on, the first of its chunk, all come 0.3 s later."""
    pictures = [(n / 24 + (0.3 if n >= 290 else 0.0), n) for n in range(24 * 40)]
    seen = Seen(role="director", asked=-0.5, left=41.0, pictures=pictures, firsts=list(range(29, 900, 29)))
    viewed = Viewed.of([seen], Span(6.0, 36.0), buffer_s=0.2)
    assert (viewed.late, viewed.freezes, viewed.underruns) == (1, 1, 1)
    assert viewed.frozen_s == pytest.approx(0.3 + 1 / 24)
    assert viewed.stalled_s == pytest.approx(0.3, abs=0.01), "the buffer's 0.2 s are played and filled again"


def _step(missed: int, *, machine: float = 0.5, thread: float = 0.3, failures: tuple[str, ...] = ()) -> Step:
    viewed = Viewed(1, 0, 1.0, failures, 30.0, (), (), (), 0, (24.0,), 25, 0, 0, 0.0, 0, 0.0)
    cores = {"workers": 0.8, "gateway": 0.1, "others": 0.1, "players": 0.2}
    return Step("tiny", 1, 1, 30.0, viewed, Used(200, missed, 0, cores, {"total": 0.4}, thread, machine, 1.0))


def test_a_step_is_good_with_99_percent_in_time_and_nobody_failed():
    assert [_step(missed).is_good for missed in (0, 2, 3)] == [True, True, False]
    assert not _step(0, failures=("TimeoutError: ",)).is_good


def test_the_limit_is_named():
    assert "sessions failed: TimeoutError" in limit(_step(0, failures=("TimeoutError: ",)))
    assert limit(_step(9, machine=0.97)).startswith("CPU of the machine")
    assert "(workers 0.80, " in limit(_step(9, machine=0.97))
    assert limit(_step(9, thread=0.95)).startswith("one thread of the cluster")
    assert limit(_step(9)).startswith("nothing was full")
    assert limit(replace(_step(9), cores=1)).startswith("CPU of what the cluster is kept to, 100% of 1 (workers 0.80")


def test_stacks_become_a_table():
    raw = (
        "run (a/b/loop.py:10);decode (x/y/vae.py:5) 6",
        "run (a/b/loop.py:11);encode (x/vp8.py:7) 3",
        "run (a/b/loop.py:9) 1",
    )
    rows = {row["function"]: (row["own"], row["with_called"]) for row in table("workers", "\n".join(raw))}
    assert rows == {
        "decode (y/vae.py)": (0.6, 0.6),
        "encode (x/vp8.py)": (0.3, 0.3),
        "run (b/loop.py)": (0.1, 1.0),
    }


# --- who comes, and what they do


def test_arrivals_are_a_poisson_process_that_can_be_repeated():
    assert arrivals.first(50, 2.0, seed=7) == arrivals.first(50, 2.0, seed=7) != arrivals.first(50, 2.0, seed=8)
    assert arrivals.first(1, 2.0, seed=7) == [0.0]
    gaps = [b - a for a, b in itertools.pairwise(arrivals.within(2000.0, 2.0, seed=1))]
    assert statistics.mean(gaps) == pytest.approx(0.5, rel=0.05)
    assert statistics.stdev(gaps) == pytest.approx(0.5, rel=0.05), "an exponential law's deviation is its mean"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_traces_that_are_shipped_can_be_played(path: Path):
    trace = Trace.read(path.stem)
    assert trace.name == path.stem
    orders = list(itertools.takewhile(lambda order: order.at_s < 4 * trace.seconds, trace.orders()))
    assert [order.at_s for order in orders] == sorted(order.at_s for order in orders)
    prompts = [order.arguments["prompt"] for order in orders]
    assert len(set(prompts)) == len(prompts), "each is a change"


GOOD: dict[str, Any] = {
    "name": "a",
    "about": "",
    "opening": "dawn",
    "seconds": 20,
    "beats": [{"at_s": 5, "do": "shot", "prompt": "noon"}, {"at_s": 10, "do": "cut", "prompt": "night", "ahead": True}],
}


def test_beats_become_commands_round_after_round():
    first, *others = itertools.islice(Trace.model_validate_json(json.dumps(GOOD)).orders(), 4)
    assert first[:3] == (0.0, "schedule_scene_cut", {"prompt": "night", "at_session_chunk": 9})
    assert others[0] == (5.0, "set_shot", {"prompt": "noon"}, True)
    assert others[1][:3] == (20.0, "schedule_scene_cut", {"prompt": "night, take 2", "at_session_chunk": 25})
    assert others[2][:2] == (25.0, "set_shot")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"beat": []}, "beat: Extra inputs are not permitted"),
        ({"beats": [{"at_s": 5, "do": "fade", "prompt": "b"}]}, "beats.0.do: Input should be 'shot' or 'cut'"),
        ({"beats": [{"at_s": 5, "do": "cut", "prompt": "  "}]}, "beats.0.prompt"),
        ({"beats": [{"at_s": 25, "do": "cut", "prompt": "b"}]}, "within the 20 s of the trace"),
        ({"beats": GOOD["beats"][:1]}, "beats have no cut"),
        ({"opening": "night"}, "prompts must differ"),
        ({"seconds": 90}, "no cut for 90 s, and a scene has chunks for 56 s"),
        ({"beats": GOOD["beats"][::-1]}, "in order"),
        (
            {
                "beats": [
                    *GOOD["beats"],
                    {"at_s": 19, "do": "shot", "prompt": "b"},
                    {"at_s": 19.5, "do": "shot", "prompt": "c"},
                ]
            },
            "live beats 0.5 s apart",
        ),
    ],
)
def test_a_bad_trace_says_what_is_wrong(change: dict[str, Any], sentence: str, tmp_path: Path):
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(GOOD | change))
    with pytest.raises(BadTrace, match=r"bad\.json") as refused:
        Trace.read(str(path))
    assert sentence in str(refused.value)


def test_an_unknown_trace_names_the_known():
    with pytest.raises(BadTrace, match="there are director, film, storyboard"):
        Trace.read("epic")


def test_a_setting_is_one_of_the_cluster(tmp_path: Path):
    assert Setting.changed(["LLC_MEDIA__BITRATE=2000000"]).more == {"LLC_MEDIA__BITRATE": "2000000"}
    with pytest.raises(BadSetting, match="no LLC_NAME=VALUE"):
        Setting.changed(["BITRATE=1"])
    with pytest.raises(BadSetting, match="no checkout of this repository"):
        Setting.revision(tmp_path)
