"""What the demo leaves behind: the received pictures as `demo.mp4`, and a contact sheet of the beats as `demo.png`."""

from __future__ import annotations

import textwrap
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cli.storyboard import BEATS, Beat

COLUMNS = 5
MARGIN = 12
CAPTION = 44
BAND = 24
INK, PAPER, ACCENT = (235, 236, 240), (18, 19, 24), (255, 176, 92)

Picture = NDArray[np.uint8]


def write_video(path: Path, pictures: list[Picture], fps: int) -> None:
    """H.264 in MP4 at constant `fps`; pictures are RGB uint8 [h, w, 3] of one size."""
    height, width = pictures[0].shape[:2]
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "18", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def captioned(picture: Picture, text: str) -> Picture:
    """The picture with a line of text in a band at its foot."""
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, image.height - BAND, image.width, image.height), PAPER)
    draw.text((MARGIN, image.height - BAND + 5), text, ACCENT, ImageFont.load_default(13))
    return np.asarray(image)


def write_sheet(path: Path, by_beat: dict[Beat, list[Picture]]) -> None:
    """One row a beat: its caption, and pictures spread evenly over its time."""
    height, width = next(pictures[0] for pictures in by_beat.values() if pictures).shape[:2]
    row = CAPTION + height + MARGIN
    sheet = Image.new("RGB", (MARGIN + COLUMNS * (width + MARGIN), MARGIN + len(BEATS) * row), PAPER)
    draw = ImageDraw.Draw(sheet)
    title, body = ImageFont.load_default(16), ImageFont.load_default(13)
    for n, beat in enumerate(BEATS):
        top = MARGIN + n * row
        draw.text((MARGIN, top), f"{beat.kind} · chunk {beat.at}", ACCENT, title)
        draw.text((MARGIN, top + 21), textwrap.shorten(beat.prompt, 160, placeholder=" …"), INK, body)
        for column, picture in enumerate(_spread(by_beat.get(beat, []))):
            sheet.paste(Image.fromarray(picture), (MARGIN + column * (width + MARGIN), top + CAPTION))
    sheet.save(path)


def _spread(pictures: list[Picture]) -> list[Picture]:
    wanted = min(COLUMNS, len(pictures))
    return [pictures[int((n + 0.5) * len(pictures) / wanted)] for n in range(wanted)]
