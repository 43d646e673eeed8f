"""Named configurations: sizes, pictures, steps. Each is one frozen value; nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass

from models.contract import VideoFormat
from wan.configs import DiTConfig, UMT5Config, VAEConfig

LATENTS_PER_CHUNK = 8
FRAMES_PER_LATENT = 4
PIXELS_PER_LATENT = 16


@dataclass(frozen=True, slots=True)
class Preset:
    """Everything that tells one loaded model from another.

    `stamp` writes a machine-readable frame number into each picture (`longlive.stamp`). `threads` bounds torch on a
    CPU. `prompts` bounds the prompts kept encoded. `weights_seed` makes the random weights.
    """

    name: str
    video: VideoFormat
    dit: DiTConfig
    vae: VAEConfig
    text: UMT5Config
    weights_seed: int
    steps: int = 4
    stamp: bool = False
    threads: int = 1
    prompts: int = 16

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
    def frames_per_chunk(self) -> int:
        """Pictures of a chunk decoded with a fresh VAE state: one for the first latent, four for each other."""
        return 1 + (LATENTS_PER_CHUNK - 1) * FRAMES_PER_LATENT


TINY = Preset(
    name="tiny",
    video=VideoFormat(width=320, height=192, fps=24),
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
    weights_seed=5,
    stamp=True,
)
"""The real architecture at toy sizes with random weights: faster than real time on one CPU core. One thread, because
threads that spin on a core which others need make every forward an order of magnitude slower."""

PRESETS = {preset.name: preset for preset in (TINY,)}


def find(name: str) -> Preset:
    """The preset of that name; raises ValueError when there is none."""
    if name not in PRESETS:
        raise ValueError(f"longlive-v2 has no preset {name!r}; it has {', '.join(sorted(PRESETS))}")
    return PRESETS[name]
