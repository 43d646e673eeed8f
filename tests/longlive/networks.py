"""A network small enough for tests of the engine, and a chunk made with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longlive.compiling import Compiler
from longlive.engine import Engine, Kind
from longlive.network import Network
from longlive.parts import constructed
from longlive.presets import TINY, Preset

FOX, CITY = "a fox in the snow", "a city street at night"


def small(**options: Any) -> Preset:
    return replace(
        TINY, video=replace(TINY.video, width=64, height=64), options=TINY.options.model_copy(update=options)
    )


def network(compiler: Compiler | None = None, **options: Any) -> Network:
    preset = small(**options)
    return Network(preset, "cpu", constructed(preset, seed=5), compiler)


def chunk(engine: Engine, prompt: str, kind: Kind, number: int, seed: int = 1) -> NDArray[np.uint8]:
    engine.prepare(prompt, kind, seed, number)
    frames = np.concatenate(list(engine.decode(engine.generate())))
    engine.commit()
    return frames
