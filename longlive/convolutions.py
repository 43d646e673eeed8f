"""The convolutions of the decoders in numbers: what their memory and their arithmetic follow from. No torch.

They mirror `wan.vae22` and `wan.taew22`, in the order in which a latent passes through them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from longlive.presets import Preset
from wan.configs import TinyVAEConfig, VAEConfig

FOLDED = 12
"""Channels of a picture folded 2x2: three colours at four places."""
FRAMES_UP = (2, 2, 1, 1)
"""What each stage of the decoder multiplies the frames by; all but the last double height and width."""
FRAMES_DOWN = (1, 2, 2, 1)
"""What each stage of the encoder divides the frames by; all but the last halve height and width."""


@dataclass(frozen=True, slots=True)
class Conv:
    """One convolution: `taps` in time, `kernel` to a side, at `scale` times the height and width of the latents.

    It is computed at `first` frames for the first latent of a stream and at `later` frames for each other.
    """

    inputs: int
    outputs: int
    taps: int
    kernel: int
    scale: int = 1
    first: int = 1
    later: int = 1
    biased: bool = True

    @property
    def macs(self) -> int:
        """Multiplications for one output position: the weights without the biases."""
        return self.inputs * self.outputs * self.taps * self.kernel**2

    @property
    def params(self) -> int:
        """Weights and biases."""
        return self.macs + self.outputs * self.biased

    @property
    def kept(self) -> int:
        """Inputs that a stream keeps of it, per position of the latents: two frames, if it looks back at all."""
        return 2 * self.inputs * self.scale**2 if self.taps == 3 else 0


def decoder(config: VAEConfig) -> Iterator[Conv]:
    """From the latents to the folded pictures."""
    dim, (*rest, top) = config.decoder_dim, config.multipliers
    widths = [dim * m for m in (top, top, *reversed(rest))]
    yield Conv(config.channels, config.channels, 1, 1)
    at = Conv(config.channels, widths[0], 3, 3)
    yield at
    yield from _middle(replace(at, inputs=widths[0]))
    for stage, (inputs, outputs, frames) in enumerate(zip(widths, widths[1:], FRAMES_UP, strict=False)):
        at = replace(at, inputs=inputs, outputs=outputs)
        yield from _residual(at, config.decoder_blocks)
        at = replace(at, inputs=outputs)
        if frames == 2:  # the first frame of a stream is not doubled
            yield replace(at, outputs=2 * outputs, kernel=1, first=at.first - 1)
            at = replace(at, first=2 * at.first - 1, later=2 * at.later)
        if stage < len(FRAMES_UP) - 1:
            at = replace(at, scale=2 * at.scale)
            yield replace(at, taps=1)
    yield replace(at, outputs=FOLDED)


def encoder(config: VAEConfig) -> Iterator[Conv]:
    """From the folded pictures to the moments of the latents. Only the numbers of weights are of use here."""
    widths = [config.encoder_dim * m for m in (1, *config.multipliers)]
    yield Conv(FOLDED, widths[0], 3, 3)
    for stage, (inputs, outputs, frames) in enumerate(zip(widths, widths[1:], FRAMES_DOWN, strict=False)):
        yield from _residual(Conv(inputs, outputs, 3, 3), config.encoder_blocks)
        if stage < len(FRAMES_DOWN) - 1:
            yield Conv(outputs, outputs, 1, 3)
        if frames == 2:
            yield Conv(outputs, outputs, 3, 1)
    yield from _middle(Conv(widths[-1], widths[-1], 3, 3))
    yield Conv(widths[-1], 2 * config.channels, 3, 3)
    yield Conv(2 * config.channels, 2 * config.channels, 1, 1)


def convolutions(preset: Preset) -> list[Conv]:
    """Of the decoder that the preset's options name."""
    return list(tiny_decoder(TinyVAEConfig()) if preset.options.decoder == "tiny" else decoder(preset.vae))


def tiny_decoder(config: TinyVAEConfig) -> Iterator[Conv]:
    """TAEW2.2, from the latents to the folded pictures; a stream's first latent is computed like any other."""
    at = Conv(config.channels, config.widths[0], 1, 3)
    yield at
    for width, following, growth in zip(config.widths, config.widths[1:], config.growth, strict=False):
        at = replace(at, inputs=width, outputs=width)
        for _ in range(config.blocks):
            yield from (replace(at, inputs=2 * width), at, at)
        at = replace(at, scale=2 * at.scale)
        yield replace(at, outputs=growth * width, kernel=1, biased=False)
        at = replace(at, first=growth * at.first, later=growth * at.later)
        yield replace(at, outputs=following, biased=False)
    yield replace(at, inputs=config.widths[-1], outputs=config.outputs)


def tiny_kept(config: TinyVAEConfig) -> int:
    """Values that a stream keeps of it, per position of the latents: one frame for each memory block."""
    return sum(config.blocks * width * 4**stage for stage, width in enumerate(config.widths[:-1]))


def gains(config: VAEConfig) -> int:
    """Weights of the norms, one before each convolution of three taps in space and time but the first ones, and one
    before each of the two attentions."""
    normed = [conv.inputs for net in (encoder, decoder) for conv in _three_wide(net(config))]
    return sum(normed) + (config.encoder_dim + config.decoder_dim) * config.multipliers[3]


def _three_wide(convs: Iterator[Conv]) -> list[Conv]:
    return [conv for conv in convs if (conv.taps, conv.kernel) == (3, 3)][1:]


def _residual(at: Conv, blocks: int) -> Iterator[Conv]:
    """Blocks of two convolutions; where the width changes, a third beside them."""
    for _ in range(blocks):
        yield at
        yield replace(at, inputs=at.outputs)
        if at.inputs != at.outputs:
            yield replace(at, taps=1, kernel=1)
        at = replace(at, inputs=at.outputs)


def _middle(at: Conv) -> Iterator[Conv]:
    """A block, the projections of the attention, a block."""
    yield from _residual(at, 1)
    yield replace(at, outputs=3 * at.inputs, taps=1, kernel=1)
    yield replace(at, taps=1, kernel=1)
    yield from _residual(at, 1)
