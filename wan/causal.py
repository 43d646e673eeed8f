"""Parts of the Wan video VAEs: convolutions that see only the past, and what a stream keeps of it.

Every convolution of three taps in time holds its last two inputs in a `Past`, so a clip may be coded in passes of any
length with exactly the result of one pass. Activations are frames [time, channels, height, width] in channels-last
memory, which is also the channels-last memory of one clip [1, channels, time, height, width].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


class Past:
    """What a stream remembers between passes: the last two inputs of each convolution, in buffers that stay where they
    are, so that a compiled decoder meets the same tensors in every pass."""

    def __init__(self) -> None:
        self.first = True
        self._frames: dict[int, Tensor] = {}

    def before(self, place: int, x: Tensor, taps: int) -> Tensor:
        """The buffer [taps, channels, h, w] of the convolution at `place`, whose inputs are like x: zeros at first."""
        if place not in self._frames:
            self._frames[place] = x.new_zeros(taps, *x.shape[2:], x.shape[1]).permute(0, 3, 1, 2)
        return self._frames[place]

    def restart(self) -> None:
        """Forget everything; the buffers stay."""
        self.first = True
        for frames in self._frames.values():
            frames.zero_()

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(frames.nbytes for frames in self._frames.values())


class RMSNorm(nn.Module):
    """x / ||x|| * sqrt(channels) * gamma over the channels; the norm of zeros is taken as 1e-12 * sqrt(channels)."""

    def __init__(self, channels: int, dims: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(channels, *[1] * dims))

    def forward(self, x: Tensor) -> Tensor:
        """[t, channels, h, w]."""
        return F.rms_norm(x.permute(0, 2, 3, 1), (x.shape[1],), self.gamma.flatten(), 1e-24).permute(0, 3, 1, 2)


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int = 1) -> Tensor:
    """Convolution of frames [t, inputs, h, w] with weight [outputs, inputs, taps, kh, kw]: unpadded in time, where it
    steps by `stride`, and padded to the same size in space."""
    taps, padding = weight.shape[2], (weight.shape[3] // 2, weight.shape[4] // 2)
    if x.is_cuda:
        return F.conv3d(x.transpose(0, 1)[None], weight, bias, (stride, 1, 1), (0, *padding))[0].transpose(0, 1)
    # CPUs have no fast 3D convolution; with the taps folded into the channels it is a 2D one. Nor are they fast at
    # widths that do not fill their vectors, so the outputs are padded to a multiple of 8.
    outputs, last = weight.shape[0], x.shape[0] - taps + 1
    spare = -outputs % 8
    folded = torch.cat([x[tap : last + tap : stride] for tap in range(taps)], dim=1)
    flat = F.pad(weight.transpose(1, 2).flatten(1, 2), (0, 0, 0, 0, 0, 0, 0, spare))
    out = F.conv2d(folded, flat, None if bias is None else F.pad(bias, (0, spare)), padding=padding)
    return out[:, :outputs]


class CausalConv3d(nn.Conv3d):
    """A convolution whose time padding lies wholly in the past. Tap 1 in time needs no memory.

    `place` tells it from the other convolutions of its network; `enumerate_places` gives it out.
    """

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int, int]) -> None:
        super().__init__(inputs, outputs, kernel)
        self.place = 0

    def forward(self, x: Tensor, past: Past) -> Tensor:  # type: ignore[override]
        """[t, inputs, h, w] -> [t, outputs, h, w]."""
        taps = self.kernel_size[0] - 1
        if taps:
            before = past.before(self.place, x, taps)
            x = torch.cat([before, x])
            before.copy_(x[-taps:])
        return convolve(x, self.weight, self.bias)


def enumerate_places(net: nn.Module) -> None:
    """Give every causal convolution of a network a place of its own in a `Past`."""
    for place, conv in enumerate(part for part in net.modules() if isinstance(part, CausalConv3d)):
        conv.place = place


class ResBlock(nn.Module):
    """Two normalised causal convolutions beside a shortcut, which is 1x1x1 where the width changes."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.residual = nn.ModuleList(
            [
                RMSNorm(inputs, 3),
                nn.SiLU(),
                CausalConv3d(inputs, outputs, (3, 3, 3)),
                RMSNorm(outputs, 3),
                nn.SiLU(),
                nn.Identity(),  # dropout in training; it keeps the names in step with the checkpoint
                CausalConv3d(outputs, outputs, (3, 3, 3)),
            ]
        )
        self.shortcut = CausalConv3d(inputs, outputs, (1, 1, 1)) if inputs != outputs else None

    def forward(self, x: Tensor, past: Past) -> Tensor:
        """[t, inputs, h, w] -> [t, outputs, h, w]."""
        norm1, _, conv1, norm2, _, _, conv2 = self.residual
        h = conv1(F.silu(norm1(x)), past)
        h = conv2(F.silu(norm2(h)), past)
        out: Tensor = h + (x if self.shortcut is None else self.shortcut(x, past))
        return out


class FrameAttention(nn.Module):
    """Single-head attention among the positions of each frame."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = RMSNorm(channels, 2)
        self.to_qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape in and out."""
        q, k, v = self.to_qkv(self.norm(x)).flatten(2).transpose(1, 2)[:, None].chunk(3, dim=-1)
        mixed = F.scaled_dot_product_attention(q, k, v)[:, 0].transpose(1, 2).reshape(x.shape)
        out: Tensor = x + self.proj(mixed)
        return out


class Middle(nn.ModuleList):
    """Res block, attention, res block at the smallest size."""

    def __init__(self, channels: int) -> None:
        super().__init__([ResBlock(channels, channels), FrameAttention(channels), ResBlock(channels, channels)])

    def forward(self, x: Tensor, past: Past) -> Tensor:
        """Same shape in and out."""
        before, attention, after = self
        out: Tensor = after(attention(before(x, past)), past)
        return out


class Head(nn.ModuleList):
    """Norm, SiLU and the last convolution."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__([RMSNorm(channels, 3), nn.SiLU(), CausalConv3d(channels, outputs, (3, 3, 3))])

    def forward(self, x: Tensor, past: Past) -> Tensor:
        """[t, channels, h, w] -> [t, outputs, h, w]."""
        norm, _, conv = self
        out: Tensor = conv(F.silu(norm(x)), past)
        return out
