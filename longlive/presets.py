"""Named configurations: sizes, pictures, options. Each is one frozen value; nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from longlive.options import Options
from longlive.spec import FPS, FRESH, STREAMED
from models.contract import Geometry, VideoFormat
from wan.configs import DiTConfig, UMT5Config, VAEConfig
from wan.weights.moments import LATENT_MEAN, LATENT_STD

LATENTS_PER_CHUNK = 8
PIXELS_PER_LATENT = 16


@dataclass(frozen=True, slots=True)
class Preset:
    """Everything that tells one loaded model from another.

    `stamp` writes a machine-readable frame number into each picture (`longlive.stamp`). `weights_seed` makes the
    weights where there are none to load; a preset without one needs `options.weights`.
    """

    name: str
    video: VideoFormat
    dit: DiTConfig
    vae: VAEConfig
    text: UMT5Config
    options: Options
    weights_seed: int | None = None
    stamp: bool = False

    @property
    def latent_shape(self) -> tuple[int, int, int, int]:
        """[frames, channels, height, width] of a chunk."""
        height, width = self.video.height // PIXELS_PER_LATENT, self.video.width // PIXELS_PER_LATENT
        return LATENTS_PER_CHUNK, self.dit.channels, height, width

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tokens of a latent frame."""
        _, _, height, width = self.latent_shape
        return height // self.dit.patch, width // self.dit.patch

    @property
    def tokens(self) -> int:
        """Tokens of a chunk."""
        rows, columns = self.grid
        return LATENTS_PER_CHUNK * rows * columns

    @property
    def geometry(self) -> Geometry:
        """Pictures per chunk."""
        return STREAMED if self.options.stream else FRESH


TINY = Preset(
    name="tiny",
    video=VideoFormat(width=320, height=192, fps=FPS),
    dit=DiTConfig(dim=128, ffn_dim=256, heads=4, layers=2, text_dim=64, text_len=128, freq_dim=64),
    vae=VAEConfig(
        mean=(0.0,) * 48,
        std=(1.0,) * 48,
        encoder_dim=8,
        decoder_dim=8,
        multipliers=(1, 1, 1, 1),
        encoder_blocks=1,
        decoder_blocks=1,
    ),
    text=UMT5Config(vocab=4096, dim=64, attn_dim=64, ffn_dim=128, heads=4, layers=2),
    options=Options(dtype="float32"),
    weights_seed=5,
    stamp=True,
)
"""The real architecture at toy sizes with random weights: faster than real time on one CPU core. One thread, because
threads that spin on a core which others need make every forward an order of magnitude slower."""

FULL = Preset(
    name="5b",
    video=VideoFormat(width=1280, height=704, fps=FPS),
    dit=DiTConfig(),
    vae=VAEConfig(mean=LATENT_MEAN, std=LATENT_STD),
    text=UMT5Config(),
    options=Options(compile=True),
)
"""The released model at its trained size."""

FULL_480P = replace(FULL, name="5b-480p", video=VideoFormat(width=832, height=480, fps=FPS))
"""The released model on pictures of 45 % of the pixels."""

PRESETS = {preset.name: preset for preset in (TINY, FULL, FULL_480P)}


def find(name: str, **options: Any) -> Preset:
    """The preset of that name, with some of its options replaced.

    Raises:
        ValueError: there is no such preset or option, or a value does not fit.
    """
    if name not in PRESETS:
        raise ValueError(f"longlive-v2 has no preset {name!r}; it has {', '.join(sorted(PRESETS))}")
    preset = PRESETS[name]
    try:
        chosen = Options.model_validate({**preset.options.model_dump(), **options})
    except ValidationError as error:
        wrong = "; ".join(f"option {'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise ValueError(f"longlive-v2, preset {name}: {wrong}") from None
    return replace(preset, options=chosen)
