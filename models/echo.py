"""`echo`: sends back what it is given, with an effect on the picture. No weights, no GPU.

It is the model that client test-suites ask for: two inbound tracks, two outbound ones, two commands. A third one of our
own, `set_image`, takes a file: a still picture that stands in for the webcam. While there is neither it shows a slowly
turning colour wheel, so that there is always something to see.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps
from pydantic import BaseModel, ConfigDict, Field

from models.contract import (
    ChunkPlan,
    ChunkResult,
    Command,
    CommandError,
    Geometry,
    Message,
    ModelSpec,
    Track,
    VideoFormat,
)
from models.files import Upload
from models.media import AudioSamples, Inputs, Media, VideoFrames

FORMAT = VideoFormat(width=640, height=480, fps=24)
MAX_STILL_BYTES = 2**20
"""Of a still picture's file: it is part of every snapshot."""

Effect = Literal["none", "grayscale", "sepia", "edges", "invert", "blur", "pixelate"]
Intensity = Annotated[float, Field(ge=0, le=1)]


class SetEffect(Command):
    """Choose the effect put on the picture."""

    effect: Effect = "none"


class SetIntensity(Command):
    """Choose how strongly the effect is mixed in."""

    intensity: Intensity = 1.0


class SetImage(Command):
    """Choose the still picture that is shown while no webcam is published.

    Answers `image_accepted`; refused for a file that is no picture or has more than a mebibyte.
    """

    image: Upload = Field(description="A picture.")


class EffectChanged(Message):
    """The effect or its intensity has changed."""

    effect: str
    intensity: float


class ImageAccepted(Message):
    """The still picture was taken; its size in pixels."""

    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoPlan(ChunkPlan):
    """One picture with the effect of the moment; `still` is the file of the picture in place of the webcam."""

    effect: Effect
    intensity: float
    still: bytes | None


class _Snapshot(BaseModel):
    """What a director keeps; the still picture's file in base64."""

    model_config = ConfigDict(strict=True)

    effect: Effect
    intensity: Intensity
    image: str | None = None


class EchoDirector:
    """Holds the effect and the still picture; generation never stops."""

    run = 0

    def __init__(self) -> None:
        self._effect: Effect = "none"
        self._intensity = 1.0
        self._still: bytes | None = None
        self._encoded: str | None = None  # the same in base64, made once: there is a snapshot after every picture
        self._chunk = 0

    def connect(self) -> Sequence[Message]:
        """The effect in force."""
        return [self._changed()]

    def handle(self, command: Command) -> Sequence[Message]:
        """Take the effect, the intensity or the still picture."""
        match command:
            case SetImage(image=image):
                return [self._take(image)]
            case SetEffect(effect=effect):
                self._effect = effect
            case SetIntensity(intensity=intensity):
                self._intensity = intensity
        return [self._changed()]

    def begin_chunk(self) -> EchoPlan:
        """The next picture."""
        return EchoPlan(
            run=self.run, chunk=self._chunk, effect=self._effect, intensity=self._intensity, still=self._still
        )

    def end_chunk(self, result: ChunkResult) -> Sequence[Message]:
        """Count; a picture is no event."""
        self._chunk += 1
        return []

    def snapshot(self) -> dict[str, Any]:
        """Effect, intensity and still picture."""
        return _Snapshot(effect=self._effect, intensity=self._intensity, image=self._encoded).model_dump()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take what a snapshot has; raises ValueError when it is not valid."""
        try:
            snapshot = _Snapshot.model_validate(state)
            still = None if snapshot.image is None else b64decode(snapshot.image, validate=True)
            if still is not None:
                size_of(still)
        except ValueError as error:
            raise ValueError("not a snapshot of echo") from error
        self._effect, self._intensity = snapshot.effect, snapshot.intensity
        self._still, self._encoded = still, snapshot.image

    def contents(self) -> Sequence[str | Upload]:
        """The still picture."""
        return [] if self._still is None else [Upload("", "", type_of(self._still), self._still)]

    def _take(self, image: Upload) -> Message:
        if len(image.data) > MAX_STILL_BYTES:
            return CommandError(command="set_image", reason=f"image has more than {MAX_STILL_BYTES} bytes")
        try:
            width, height = size_of(image.data)
        except ValueError as error:
            return CommandError(command="set_image", reason=str(error))
        self._still, self._encoded = image.data, b64encode(image.data).decode()
        return ImageAccepted(width=width, height=height)

    def _changed(self) -> EffectChanged:
        return EffectChanged(effect=self._effect, intensity=self._intensity)


class EchoStream:
    """Puts the effect on the newest webcam picture and passes the microphone through."""

    def __init__(self) -> None:
        self._plan: EchoPlan | None = None
        self._still: tuple[bytes, NDArray[np.uint8]] | None = None

    def prepare(self, plan: ChunkPlan) -> None:
        """Take the effect, and decode the still picture if it is a new one."""
        assert isinstance(plan, EchoPlan)
        self._plan = plan
        if plan.still is not None and (self._still is None or self._still[0] is not plan.still):
            self._still = plan.still, fit(decode(plan.still))

    def generate(self, inputs: Inputs) -> Inputs:
        """Nothing to generate: what came in is what goes out."""
        return inputs

    def decode(self, latents: Inputs) -> Iterator[Media]:
        """One picture, and the sound since the last one."""
        assert self._plan is not None
        webcam, mic = latents.get("webcam"), latents.get("mic")
        source = fit(webcam.rgb[-1]) if isinstance(webcam, VideoFrames) else self._stand_in(self._plan.chunk)
        picture = apply_effect(source, self._plan.effect, self._plan.intensity)
        yield VideoFrames("main_video", picture[None])
        if isinstance(mic, AudioSamples):
            yield AudioSamples("main_audio", mic.pcm, mic.rate)

    def _stand_in(self, chunk: int) -> NDArray[np.uint8]:
        return self._still[1] if self._still is not None else colour_wheel(chunk)

    def commit(self) -> None:
        """Nothing is remembered."""

    def snapshot(self, *, exact: bool = False) -> bytes:
        """Nothing to keep."""
        return b""

    def restore(self, state: bytes) -> None:
        """Nothing to take."""

    def restoring(self, state: bytes) -> Iterator[None]:
        """Nothing to take."""
        return iter(())

    def contents(self, state: bytes) -> Sequence[str | Upload]:
        """Nothing."""
        return []

    def close(self) -> None:
        """Nothing to free."""


class EchoReplica:
    """There is nothing to load."""

    def __init__(self) -> None:
        self.facts: Mapping[str, str] = {}

    def trial(self) -> float:
        """There is no device."""
        return 0.0

    def open(self) -> EchoStream:
        """A fresh stream."""
        return EchoStream()


class EchoModel:
    """The plug."""

    spec = ModelSpec(
        name="echo",
        description="Sends the webcam back with an effect, and the microphone as it came.",
        tracks=(
            Track("webcam", "video", "in"),
            Track("mic", "audio", "in"),
            Track("main_video", "video", "out", FORMAT),
            Track("main_audio", "audio", "out"),
        ),
        commands=(SetEffect, SetIntensity, SetImage),
        messages=(EffectChanged, ImageAccepted, CommandError),
        geometry=Geometry(1, 1),
    )

    def director(self) -> EchoDirector:
        """A fresh director."""
        return EchoDirector()

    def check(self, device: str) -> None:
        """It runs anywhere."""

    def load(self, device: str) -> EchoReplica:
        """Any device will do."""
        return EchoReplica()


def model(preset: str, **options: Any) -> EchoModel:
    """The model; it has one form, so every preset is the same. Raises ValueError for options: it has none."""
    if options:
        raise ValueError(f"echo has no options, but was given {', '.join(options)}")
    return EchoModel()


# --- pictures -------------------------------------------------------------------------------------------------------

_EFFECTS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "grayscale": lambda image: ImageOps.grayscale(image).convert("RGB"),
    "sepia": lambda image: ImageOps.colorize(ImageOps.grayscale(image), (30, 18, 6), (255, 240, 200)),
    "edges": lambda image: image.filter(ImageFilter.FIND_EDGES),
    "invert": ImageOps.invert,
    "blur": lambda image: image.filter(ImageFilter.BoxBlur(5)),
    "pixelate": lambda image: image.resize((FORMAT.width // 16, FORMAT.height // 16), Image.Resampling.BOX).resize(
        image.size, Image.Resampling.NEAREST
    ),
}


def size_of(data: bytes) -> tuple[int, int]:
    """Width and height by a picture's header; raises ValueError for bytes that do not begin like one."""
    try:
        with Image.open(BytesIO(data)) as image:
            return image.size
    except (OSError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ValueError("image is not a picture") from None


def type_of(data: bytes) -> str:
    """MIME type by a picture's header."""
    with Image.open(BytesIO(data)) as image:
        return str(image.get_format_mimetype())


def decode(data: bytes) -> NDArray[np.uint8]:
    """A picture's file as uint8 [h, w, 3], the right way up."""
    with Image.open(BytesIO(data)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def fit(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 [h, w, 3] resized to the outbound format, centre-cropped to its aspect."""
    return np.asarray(ImageOps.fit(Image.fromarray(rgb), (FORMAT.width, FORMAT.height), Image.Resampling.BILINEAR))


def colour_wheel(n: int) -> NDArray[np.uint8]:
    """The picture shown without a webcam: diagonal colour bands that drift with the picture number `n`."""
    ramp = np.arange(FORMAT.width + FORMAT.height, dtype=np.float32) / 80 - n / 24
    phases = np.array([0.0, 2.1, 4.2], np.float32)
    palette: NDArray[np.uint8] = (127.5 + 100 * np.sin(ramp[:, None] + phases)).astype(np.uint8)
    return np.asarray(palette[np.arange(FORMAT.height)[:, None] + np.arange(FORMAT.width)[None, :]])


def apply_effect(rgb: NDArray[np.uint8], effect: Effect, intensity: float) -> NDArray[np.uint8]:
    """`intensity` of the effect mixed into uint8 [h, w, 3]; 0 and `none` leave it as it is."""
    if effect == "none" or intensity == 0:
        return rgb
    source = Image.fromarray(rgb)
    return np.asarray(Image.blend(source, _EFFECTS[effect](source), intensity))
