"""The demo's judgement: it must be able to say no."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from cli.film import write_sheet, write_video
from cli.storyboard import BEATS, CHUNKS, beat_of, verdict

pytestmark = pytest.mark.fast


def played_as_planned() -> list[dict[str, Any]]:
    messages = [
        {"type": "chunk_complete", "data": {"session_chunk": n + 1, "active_prompt": beat_of(n).prompt}}
        for n in range(CHUNKS)
    ]
    return [*messages, {"type": "scene_cut", "data": {"at_session_chunk": 6, "prompt": BEATS[2].prompt}}]


def test_a_run_as_planned_has_no_faults():
    assert verdict(played_as_planned()) == []


def test_a_beat_one_chunk_late_is_a_fault():
    messages = played_as_planned()
    messages[3]["data"]["active_prompt"] = BEATS[0].prompt
    assert verdict(messages) == ["chunk 3 did not show the soft shot planned for chunk 3"]


def test_a_missing_chunk_is_a_fault():
    assert "chunk 8" in verdict(played_as_planned()[:8] + played_as_planned()[9:])[0]


def test_a_cut_elsewhere_and_a_refusal_are_faults():
    messages = played_as_planned()
    messages[-1]["data"]["at_session_chunk"] = 5
    messages.append({"type": "command_error", "data": {"command": "start", "reason": "no"}})
    assert verdict(messages) == ["scene cuts at [5], planned at [6]", "refused: start"]


def test_film_and_sheet_show_what_came(tmp_path: Path):
    pictures = [np.full((192, 320, 3), 8 * n, np.uint8) for n in range(24)]
    write_video(tmp_path / "demo.mp4", pictures, 24)
    with av.open(tmp_path / "demo.mp4") as film:
        levels = [frame.to_ndarray(format="rgb24").mean() for frame in film.decode(video=0)]
    assert len(levels) == 24
    assert np.allclose(levels, [p.mean() for p in pictures], atol=6)

    write_sheet(tmp_path / "demo.png", {BEATS[0]: pictures[:8], BEATS[1]: pictures[8:16], BEATS[2]: pictures[16:]})
    sheet = np.asarray(Image.open(tmp_path / "demo.png"))
    rows = [sheet[top : top + 192, 20].mean() for top in (80, 330, 578)]
    assert rows[0] < rows[1] < rows[2]
