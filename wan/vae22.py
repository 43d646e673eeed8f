"""The Wan2.2 video VAE: 48 channels, 16x16 in space, 4x in time, causal.

1 + 4n pictures become 1 + n latents and back. With the `Past` of a stream, a clip may be decoded in passes of any
length with exactly the result of one pass. Parameter names and shapes are those of the released checkpoint (196
tensors). Activations are frames, as in `wan.causal`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from wan.causal import CausalConv3d, Head, Middle, Past, ResBlock, convolve, enumerate_places
from wan.configs import VAEConfig

TIME_SCALED = (False, True, True, False)
"""Which encoder stages halve the time; the decoder doubles it in reverse order."""


class Upsample(nn.Module):
    """Twice the height and width, and twice the frames if `in_time`: but a stream's first frame stays one frame."""

    def __init__(self, channels: int, in_time: bool) -> None:
        super().__init__()
        self.resample = nn.ModuleList([nn.Identity(), nn.Conv2d(channels, channels, 3, padding=1)])
        self.time_conv = CausalConv3d(channels, 2 * channels, (3, 1, 1)) if in_time else None

    def forward(self, x: Tensor, past: Past) -> Tensor:
        """[t, c, h, w] -> [2t (2t-1 in the first pass) or t, c, 2h, 2w]."""
        if self.time_conv is not None:
            alone = int(past.first)
            x = torch.cat([x[:alone], self._double(x[alone:], past)])
        out: Tensor = self.resample[1](F.interpolate(x, scale_factor=2.0, mode="nearest-exact"))
        return out

    def _double(self, x: Tensor, past: Past) -> Tensor:
        if self.time_conv is None or not len(x):
            return x
        return torch.unflatten(self.time_conv(x, past), 1, (2, -1)).flatten(0, 1)


class UpStage(nn.Module):
    """Res blocks and an upsampler beside a parameter-free shortcut; the last stage has neither of the two."""

    def __init__(self, inputs: int, outputs: int, blocks: int, up: bool, in_time: bool) -> None:
        super().__init__()
        self.factors = (2 if in_time else 1, 2)
        self.outputs = outputs
        self.upsamples = nn.ModuleList([ResBlock(inputs if i == 0 else outputs, outputs) for i in range(blocks)])
        if up:
            self.upsamples.append(Upsample(outputs, in_time))
        self.up = up

    def forward(self, x: Tensor, past: Past) -> Tensor:
        """[t, inputs, h, w] -> [t', outputs, 2h, 2w], or t, h, w unchanged in the last stage."""
        h = x
        for layer in self.upsamples:
            h = layer(h, past)
        return h + self._shortcut(x, past) if self.up else h

    def _shortcut(self, x: Tensor, past: Past) -> Tensor:
        """Repeat channels and fold the copies into time and space; the first pass drops the frames before its first."""
        time, space = self.factors
        copies = self.outputs * time * space * space // x.shape[1]
        x = torch.unflatten(x.repeat_interleave(copies, dim=1), 1, (self.outputs, time, space, space))
        # (t, c, time, row, column, h, w) in the memory order (t, time, h, row, w, column, c)
        x = x.permute(0, 2, 5, 3, 6, 4, 1).flatten(4, 5).flatten(2, 3).flatten(0, 1).permute(0, 3, 1, 2)
        return x[time - 1 :] if past.first else x


class Downsample(nn.Module):
    """Half the height and width, and half the frames if `in_time`: but a stream's first frame stays one frame."""

    def __init__(self, channels: int, in_time: bool) -> None:
        super().__init__()
        self.resample = nn.ModuleList([nn.Identity(), nn.Conv2d(channels, channels, 3, stride=2)])
        self.time_conv = nn.Conv3d(channels, channels, (3, 1, 1), (2, 1, 1)) if in_time else None

    def forward(self, x: Tensor) -> Tensor:
        """[t, c, h, w] of a whole clip -> [(t+1)/2 or t, c, h/2, w/2]."""
        x = self.resample[1](F.pad(x, (0, 1, 0, 1)))
        if self.time_conv is None or len(x) == 1:
            return x
        return torch.cat([x[:1], convolve(x, self.time_conv.weight, self.time_conv.bias, stride=2)])


class DownStage(nn.Module):
    """Res blocks and a downsampler beside a parameter-free shortcut of averages."""

    def __init__(self, inputs: int, outputs: int, blocks: int, down: bool, in_time: bool) -> None:
        super().__init__()
        self.factors = (2 if in_time else 1, 2 if down else 1)
        self.outputs = outputs
        self.downsamples = nn.ModuleList([ResBlock(inputs if i == 0 else outputs, outputs) for i in range(blocks)])
        if down:
            self.downsamples.append(Downsample(outputs, in_time))

    def forward(self, x: Tensor, past: Past) -> Tensor:
        """[t, inputs, h, w] of a whole clip -> [t', outputs, h', w']."""
        h = x
        for layer in self.downsamples:
            h = layer(h) if isinstance(layer, Downsample) else layer(h, past)
        return h + self._shortcut(x)

    def _shortcut(self, x: Tensor) -> Tensor:
        """Means over blocks of time and space and groups of channels; time is padded with zeros in front."""
        time, space = self.factors
        x = F.pad(x, (0, 0, 0, 0, 0, 0, -len(x) % time, 0))
        frames, channels, height, width = x.shape
        x = x.reshape(frames // time, time, channels, height // space, space, width // space, space)
        x = x.permute(0, 2, 1, 4, 6, 3, 5).flatten(1, 4)
        return torch.unflatten(x, 1, (self.outputs, -1)).mean(2)


class Decoder(nn.Module):
    """Latents to pictures folded 2x2 into 12 channels."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        widths = [config.decoder_dim * m for m in (config.multipliers[3], *reversed(config.multipliers))]
        self.conv1 = CausalConv3d(config.channels, widths[0], (3, 3, 3))
        self.middle = Middle(widths[0])
        in_time = (*reversed(TIME_SCALED[:3]), False)
        self.upsamples = nn.ModuleList(
            UpStage(widths[i], widths[i + 1], config.decoder_blocks, up=i < 3, in_time=in_time[i]) for i in range(4)
        )
        self.head = Head(widths[4], 12)

    def forward(self, z: Tensor, past: Past) -> Tensor:
        """[t, 48, h, w] -> [4t (4t-3 in the first pass), 12, 8h, 8w]."""
        x = self.middle(self.conv1(z, past), past)
        for stage in self.upsamples:
            x = stage(x, past)
        out: Tensor = self.head(x, past)
        return out


class Encoder(nn.Module):
    """Pictures folded 2x2 into 12 channels to the moments of the latents."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        widths = [config.encoder_dim * m for m in (1, *config.multipliers)]
        self.conv1 = CausalConv3d(12, widths[0], (3, 3, 3))
        self.downsamples = nn.ModuleList(
            DownStage(widths[i], widths[i + 1], config.encoder_blocks, down=i < 3, in_time=TIME_SCALED[i])
            for i in range(4)
        )
        self.middle = Middle(widths[4])
        self.head = Head(widths[4], 2 * config.channels)

    def forward(self, x: Tensor, past: Past) -> Tensor:
        """[1+4n, 12, h, w] -> [1+n, 96, h/8, w/8]."""
        x = self.conv1(x, past)
        for stage in self.downsamples:
            x = stage(x, past)
        out: Tensor = self.head(self.middle(x, past), past)
        return out


def unfold(folded: Tensor) -> Tensor:
    """Channels (colour, column in the block, row in the block) to blocks: [t, 12, h, w] -> [t, 3, 2h, 2w], channels
    last in memory."""
    blocks = torch.unflatten(folded, 1, (3, 2, 2)).permute(0, 4, 3, 5, 2, 1)
    return blocks.flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)


class VAE(nn.Module):
    """Encoder, decoder and the normalisation of latents between them."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.conv1 = CausalConv3d(2 * config.channels, 2 * config.channels, (1, 1, 1))
        self.conv2 = CausalConv3d(config.channels, config.channels, (1, 1, 1))
        self.decoder = Decoder(config)
        enumerate_places(self)

    def decode(self, latents: Tensor, past: Past) -> Tensor:
        """Normalised latents [n, 48, h, w] -> pictures in [-1, 1], [4n (4n-3 if `past` is fresh), 3, 16h, 16w]."""
        return unfold(self.decode_folded(latents, past).clamp(-1, 1))

    def decode_folded(self, latents: Tensor, past: Past) -> Tensor:
        """Like `decode`, but before clamping and `unfold`, which are cheaper on bytes: [4n or 4n-3, 12, 8h, 8w]."""
        z = latents * self._moment(self.config.std, latents) + self._moment(self.config.mean, latents)
        z = z.to(self.conv2.weight.dtype).contiguous(memory_format=torch.channels_last)
        folded: Tensor = self.decoder(self.conv2(z, past), past)
        past.first = False
        return folded

    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures in [-1, 1] of a whole clip, [1+4n, 3, 16h, 16w] -> normalised latents [1+n, 48, h, w]."""
        frames, _, height, width = pictures.shape
        blocks = pictures.reshape(frames, 3, height // 2, 2, width // 2, 2).permute(0, 1, 5, 3, 2, 4).flatten(1, 3)
        past = Past()
        moments = self.encoder(blocks.contiguous(memory_format=torch.channels_last), past)
        mean: Tensor = self.conv1(moments, past)[:, : self.config.channels]
        return (mean - self._moment(self.config.mean, mean)) / self._moment(self.config.std, mean)

    @staticmethod
    def _moment(values: tuple[float, ...], like: Tensor) -> Tensor:
        return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None, None]
