"""TAEW2.2, a tiny decoder of Wan2.2's latents: 2D convolutions, and one frame of memory in nine places.

After the published TAEHV family (Boer Bohan, 2025), member `taew2_2`: 9.9 M parameters, where the full decoder has
555 M. It takes normalised latents as they are. Parameter names are those of the released checkpoint, whose decoder is
one list: squash, convolution, ReLU; three stages of three memory blocks, upsampling, growth in time and a narrowing
convolution; ReLU, convolution. With the `Past` of a stream a clip may be decoded in passes of any length.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from wan.causal import Past
from wan.configs import TinyVAEConfig
from wan.vae22 import unfold


class Squash(nn.Module):
    """3 * tanh(x / 3): outliers among the latents stay within three standard deviations."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return torch.tanh(x / 3) * 3


class MemoryBlock(nn.Module):
    """A residual block that sees the frame before each frame too: zeros before the first."""

    def __init__(self, channels: int, place: int) -> None:
        super().__init__()
        self.place = place
        self.conv = nn.Sequential(
            nn.Conv2d(2 * channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor, past: Past) -> Tensor:
        """[t, channels, h, w], same shape out."""
        before = past.before(self.place, x, 1)
        earlier = torch.cat([before, x[:-1]])
        before.copy_(x[-1:])
        return F.relu(self.conv(torch.cat([x, earlier], dim=1)) + x)


class Grow(nn.Module):
    """Each frame becomes `times` frames: slices of the channels of a 1x1 convolution, in order."""

    def __init__(self, channels: int, times: int) -> None:
        super().__init__()
        self.times = times
        self.conv = nn.Conv2d(channels, times * channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[t, channels, h, w] -> [times * t, channels, h, w]."""
        return torch.unflatten(self.conv(x), 1, (self.times, -1)).flatten(0, 1)


class TinyVAE(nn.Module):
    """Decodes like `wan.vae22.VAE`, with the same state; it cannot encode."""

    def __init__(self, config: TinyVAEConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = [Squash(), nn.Conv2d(config.channels, config.widths[0], 3, padding=1), nn.ReLU()]
        for stage, times in enumerate(config.growth):
            inputs, outputs = config.widths[stage : stage + 2]
            layers += [MemoryBlock(inputs, config.blocks * stage + number) for number in range(config.blocks)]
            layers += [nn.Upsample(scale_factor=2), Grow(inputs, times)]
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)]
        layers += [nn.ReLU(), nn.Conv2d(config.widths[-1], config.outputs, 3, padding=1)]
        self.decoder = nn.ModuleList(layers)

    def decode(self, latents: Tensor, past: Past) -> Tensor:
        """Normalised latents [n, 48, h, w] -> pictures in [-1, 1], [4n (4n-3 if `past` is fresh), 3, 16h, 16w]."""
        return unfold(self.decode_folded(latents, past).clamp(-1, 1))

    def decode_folded(self, latents: Tensor, past: Past) -> Tensor:
        """Like `decode`, but before clamping and `unfold`: [4n or 4n-3, 12, 8h, 8w]."""
        x = latents.to(self._first.weight.dtype).contiguous(memory_format=torch.channels_last)
        for layer in self.decoder:
            x = layer(x, past) if isinstance(layer, MemoryBlock) else layer(x)
        if past.first:
            x = x[3:]  # a stream's first latent is one frame: the last of the four it is grown to
        past.first = False
        # The network's channels are (colour, row, column) in [0, 1]; `unfold` takes (colour, column, row) in [-1, 1].
        return torch.unflatten(x, 1, (3, 2, 2)).transpose(2, 3).flatten(1, 3) * 2 - 1

    @property
    def _first(self) -> nn.Conv2d:
        first = self.decoder[1]
        assert isinstance(first, nn.Conv2d)
        return first
