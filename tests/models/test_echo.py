"""`echo`: what comes out is what went in, with the effect that was asked for."""

from __future__ import annotations

from io import BytesIO
from typing import get_args

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from models.contract import ChunkResult, CommandError
from models.echo import (
    FORMAT,
    MAX_STILL_BYTES,
    EchoDirector,
    EchoStream,
    Effect,
    EffectChanged,
    ImageAccepted,
    SetEffect,
    SetImage,
    SetIntensity,
    apply_effect,
    colour_wheel,
    fit,
    model,
)
from models.files import Upload
from models.media import AudioSamples, Inputs, VideoFrames

pytestmark = pytest.mark.fast

EFFECTS = [effect for effect in get_args(Effect) if effect != "none"]


def chunk(director: EchoDirector, inputs: Inputs) -> list[VideoFrames | AudioSamples]:
    stream = EchoStream()
    plan = director.begin_chunk()
    stream.prepare(plan)
    media = list(stream.decode(stream.generate(inputs)))
    stream.commit()
    director.end_chunk(ChunkResult(plan, 1))
    return media


def webcam(rgb: np.ndarray) -> Inputs:
    return {"webcam": VideoFrames("webcam", rgb[None])}


def halves(left: int, right: int) -> np.ndarray:
    picture = np.full((FORMAT.height, FORMAT.width, 3), left, np.uint8)
    picture[:, FORMAT.width // 2 :] = right
    return picture


def test_the_webcam_comes_back_as_it_was():
    picture = halves(10, 240)
    (video,) = chunk(EchoDirector(), webcam(picture))
    assert video.track == "main_video"
    assert np.array_equal(video.rgb[0], picture)


def test_a_webcam_of_another_size_is_fitted_without_distortion():
    tall = np.zeros((1280, 720, 3), np.uint8)
    tall[400:880, 120:600] = 255  # a square in the middle
    fitted = fit(tall)
    assert fitted.shape == (FORMAT.height, FORMAT.width, 3)
    inside = fitted[..., 0] > 127
    assert abs(inside.any(axis=1).sum() - inside.any(axis=0).sum()) <= 2 or inside.any(axis=1).all()


def test_the_microphone_comes_back_sample_by_sample():
    pcm = np.arange(960, dtype=np.int16)[:, None]
    _, sound = chunk(EchoDirector(), {"mic": AudioSamples("mic", pcm, 48_000)})
    assert sound.track == "main_audio"
    assert sound.rate == 48_000
    assert np.array_equal(sound.pcm, pcm)


def test_without_a_webcam_there_is_a_moving_picture():
    director = EchoDirector()
    first, second = (chunk(director, {})[0].rgb[0] for _ in range(2))
    assert first.std() > 20
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("effect", EFFECTS)
def test_every_effect_changes_the_picture_and_its_intensity_is_a_mix(effect: Effect):
    picture = colour_wheel(5)
    full, half = apply_effect(picture, effect, 1.0), apply_effect(picture, effect, 0.5)
    assert full.shape == picture.shape
    assert not np.array_equal(full, picture)
    middle = (full.astype(int) + picture) / 2
    assert np.abs(half - middle).max() <= 1
    assert np.array_equal(apply_effect(picture, effect, 0.0), picture)


def test_effects_do_what_they_are_called():
    picture = halves(10, 240)
    assert np.array_equal(apply_effect(picture, "invert", 1.0), 255 - picture)
    grey = apply_effect(colour_wheel(0), "grayscale", 1.0)
    assert (grey[..., 0] == grey[..., 1]).all()
    edges = apply_effect(picture, "edges", 1.0)[..., 0]
    assert edges[100, FORMAT.width // 2 - 1 : FORMAT.width // 2 + 1].max() > 200
    assert edges[100, 50] == 0
    blocks = apply_effect(colour_wheel(0), "pixelate", 1.0)
    assert (blocks[:16, :16] == blocks[0, 0]).all()


def test_commands_answer_with_what_is_in_force():
    director = EchoDirector()
    assert director.handle(SetEffect(effect="sepia")) == [EffectChanged(effect="sepia", intensity=1.0)]
    assert director.handle(SetIntensity(intensity=0.25)) == [EffectChanged(effect="sepia", intensity=0.25)]
    assert director.connect() == [EffectChanged(effect="sepia", intensity=0.25)]


@pytest.mark.parametrize("wrong", [{"effect": "rainbow"}, {"effect": 1}, {"effect": "none", "more": 1}])
def test_commands_of_another_shape_are_refused(wrong: dict[str, object]):
    with pytest.raises(ValidationError):
        SetEffect.model_validate(wrong)


@pytest.mark.parametrize("intensity", [-0.1, 1.1, "0.5", None])
def test_intensity_has_bounds(intensity: object):
    with pytest.raises(ValidationError):
        SetIntensity.model_validate({"intensity": intensity})


def test_a_snapshot_carries_the_effect_and_nonsense_changes_nothing():
    director, other = EchoDirector(), EchoDirector()
    director.handle(SetEffect(effect="blur"))
    other.restore(director.snapshot())
    assert other.snapshot() == director.snapshot()
    for nonsense in ({}, {"effect": "rainbow", "intensity": 1.0}, {"effect": "blur", "intensity": 7}):
        with pytest.raises(ValueError, match="not a snapshot"):
            other.restore(nonsense)
    assert other.snapshot() == director.snapshot()


def still(rgb: np.ndarray, **more: object) -> SetImage:
    file = BytesIO()
    Image.fromarray(rgb).save(file, "PNG", **more)
    return SetImage(image=Upload("u", "../../still.png", "image/png", file.getvalue()))


def test_a_still_picture_stands_in_for_the_webcam():
    director, stream = EchoDirector(), EchoStream()
    picture = halves(10, 240)
    assert director.handle(still(picture)) == [ImageAccepted(width=FORMAT.width, height=FORMAT.height)]

    def shown(inputs: Inputs) -> np.ndarray:
        stream.prepare(director.begin_chunk())
        return next(stream.decode(stream.generate(inputs))).rgb[0]

    assert np.array_equal(shown({}), picture)
    assert np.array_equal(shown(webcam(halves(0, 0))), halves(0, 0))
    assert np.array_equal(shown({}), picture)
    director.handle(still(halves(240, 10)))
    director.handle(SetEffect(effect="invert"))
    assert np.array_equal(shown({}), halves(15, 245))


@pytest.mark.parametrize("data", [b"", b"words", b"\x89PNG\r\n\x1a\n", bytes(MAX_STILL_BYTES + 1)])
def test_a_file_that_will_not_do_is_refused_and_the_picture_stays(data: bytes):
    director = EchoDirector()
    director.handle(still(halves(10, 240)))
    before = director.snapshot()
    (message,) = director.handle(SetImage(image=Upload("u", "a.png", "image/png", data)))
    assert isinstance(message, CommandError)
    assert message.reason.startswith("image ")
    assert director.snapshot() == before


def test_a_still_picture_outlives_the_worker():
    director, other = EchoDirector(), EchoDirector()
    director.handle(still(halves(10, 240)))
    other.restore(director.snapshot())
    assert np.array_equal(chunk(other, {})[0].rgb[0], halves(10, 240))
    for image in ("%%%", "AAAA"):
        with pytest.raises(ValueError, match="not a snapshot"):
            other.restore(director.snapshot() | {"image": image})


def test_the_spec_is_what_client_test_suites_ask_for():
    spec = model("tiny").spec
    assert [(t.name, t.kind, t.direction) for t in spec.tracks] == [
        ("webcam", "video", "in"),
        ("mic", "audio", "in"),
        ("main_video", "video", "out"),
        ("main_audio", "audio", "out"),
    ]
    assert set(spec.command_types()) == {"set_effect", "set_intensity", "set_image"}
