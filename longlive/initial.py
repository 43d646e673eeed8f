"""Random weights under which the untrained networks already show something: smooth coloured shapes that move, and that
follow the prompt.

Every network starts near an identity, plus low-pass kernels where the architecture has room for them, plus noise that
makes it this network and no other. The generator is the only source of chance, so every machine has the same weights.
"""

from __future__ import annotations

from math import sqrt

import torch
from torch import Generator, Tensor, nn

from wan.dit import Block, DiT
from wan.prompt import END
from wan.umt5 import UMT5
from wan.vae22 import VAE, Upsample

RESIDUE = 0.1
"""Share of plain randomness in the self-attention that is otherwise an identity."""
LOCALITY = 2.2
"""Gain of queries and keys of self-attention: how fast its low-pass falls off with distance."""
SMOOTHING = 3.0
"""How much of the low-pass the last block takes away."""
PROMPT = 0.5
"""Share of the text in what the blocks add."""
CONTRAST = 0.42
"""Standard deviation of the colours that the decoder's channels have."""

BLUR = torch.outer(torch.tensor([0.25, 0.5, 0.25]), torch.tensor([0.25, 0.5, 0.25]))


def initialise_text(net: UMT5, generator: Generator) -> None:
    """Plain random weights of unit gain; words mix with their neighbours through the relative bias."""
    _random(net, generator)
    nn.init.normal_(net.token_embedding.weight, generator=generator)
    net.token_embedding.weight[END] = 0  # so that the end of the text holds nothing but what it reads of the words


def initialise_dit(net: DiT, visible: int, generator: Generator) -> None:
    """A denoiser by construction: flow = what is left of a token once the mean of its neighbourhood is taken away.

    Patches enter and leave in a Haar basis (mean first, then the three differences); self-attention starts as a
    low-pass over space and time, because constant queries and keys leave the rotary phases alone to decide; it
    subtracts its mean, so the clean sample is a smooth field that continues the chunks in the window. Only the first
    `visible` latent channels take part: the others would drown what the decoder shows in the norm of the token.
    """
    config = net.config
    _random(net, generator)
    haar = _haar(config.channels)[: config.dim]
    net.patch_embedding.weight.copy_(haar.view(net.patch_embedding.weight.shape))
    # The head's patches are ordered (row, column, channel), the embedding's (channel, row, column).
    leave = haar.view(-1, config.channels, 2, 2).permute(2, 3, 1, 0).flatten(0, 2)
    net.head.head.weight.copy_(leave)
    net.head.modulation[:, 1] = 0.3
    for name in ("time_embedding.2", "time_projection.1"):
        net.get_submodule(name).weight.mul_(0.05)  # type: ignore[operator]
    # What GELU adds to all prompts alike is taken away, so that they differ in what they say.
    text = net.get_parameter("text_embedding.2.weight")
    text.sub_(text.mean(dim=1, keepdim=True))
    for block in net.blocks:
        assert isinstance(block, Block)
        _initialise_block(block, visible, generator, smooth=block.layer == config.layers - 1)


def _initialise_block(block: Block, visible: int, generator: Generator, smooth: bool) -> None:
    block.modulation[:, 2] = 1.0
    block.modulation[:, 5] = 0.1
    attention, cross = block.self_attn, block.cross_attn
    width = attention.o.weight.shape[0]
    bias = _neighbourhood(width // attention.heads).repeat(attention.heads)
    for part in (attention.q, attention.k):
        part.weight.mul_(0.15)
        part.bias.copy_(bias)
    attention.norm_q.weight.fill_(LOCALITY)
    attention.norm_k.weight.fill_(LOCALITY)
    place = torch.arange(width)
    means = torch.diag(((place % 4 == 0) & (place < 4 * visible)).float())
    attention.v.weight.mul_(RESIDUE).add_(torch.eye(width))
    attention.o.weight.mul_(RESIDUE)
    if smooth:
        attention.o.weight.add_(means).mul_(-SMOOTHING)
    cross.q.weight.mul_(0.3)
    cross.q.bias.normal_(generator=generator)
    cross.norm_q.weight.fill_(1.6)
    cross.norm_k.weight.fill_(1.6)
    cross.o.weight.copy_(means @ cross.o.weight * PROMPT)


def initialise_vae(net: VAE, generator: Generator) -> None:
    """A decoder that interpolates: identities across channels, blurs across space, upsamplers whose own path turns the
    repetition of their shortcut into a linear interpolation, and small random residuals."""
    _random(net, generator)
    nn.init.dirac_(net.conv2.weight)
    decoder = net.decoder
    decoder.conv1.weight.copy_(_dirac(decoder.conv1.weight))
    for name, part in decoder.named_modules():
        if isinstance(part, nn.Conv3d) and name.endswith("residual.6"):
            part.weight.sub_(part.weight.mean(dim=1, keepdim=True)).mul_(0.35)
        if isinstance(part, Upsample):
            _initialise_upsample(part)
    last = decoder.head[2]
    assert isinstance(last, nn.Conv3d)
    colours = torch.randn(3, last.in_channels, generator=generator)
    colours = (colours - colours.mean(1, keepdim=True)) * CONTRAST
    last.weight.zero_()
    last.weight[:, :, -1] = colours.repeat_interleave(4, dim=0)[:, :, None, None] * BLUR


def _initialise_upsample(part: Upsample) -> None:
    space = part.resample[1]
    assert isinstance(space, nn.Conv2d)
    width = space.weight.shape[0]
    shortcut = torch.zeros(3, 3)
    shortcut[1, 1] = 1
    space.weight.copy_(torch.eye(width)[:, :, None, None] * (BLUR * 2 - shortcut))
    if part.time_conv is not None:
        # With the shortcut, which repeats this frame: halfway from the last one to this one, then this one.
        part.time_conv.weight.zero_()
        eye = torch.eye(width)
        part.time_conv.weight[:width, :, 1, 0, 0] = eye
        part.time_conv.weight[width:, :, 2, 0, 0] = eye


def _random(net: nn.Module, generator: Generator) -> None:
    """Weights of unit gain, gains of norms one, biases and modulations zero."""
    for name, weight in net.named_parameters():
        if name.endswith(("norm_q.weight", "norm_k.weight", "gamma")) or _is_norm(name):
            weight.fill_(1.0)
        elif weight.dim() < 2 or "modulation" in name:
            weight.zero_()
        else:
            weight.normal_(0, 1 / sqrt(weight[0].numel()), generator=generator)


def _is_norm(name: str) -> bool:
    return name.endswith("weight") and "norm" in name.split(".")[-2]


def _haar(channels: int) -> Tensor:
    """Orthonormal [4*channels, channels*4]: for each channel the mean of its 2x2 patch, then the three differences."""
    pair = torch.tensor([[1.0, 1.0], [1.0, -1.0]]) / sqrt(2)
    return torch.kron(torch.eye(channels), torch.kron(pair, pair))


def _neighbourhood(head_dim: int) -> Tensor:
    """A query and key whose rotary product is largest for the same place and time, and falls off around them."""
    space = 2 * (head_dim // 6)
    time = head_dim - 2 * space
    bias = torch.zeros(head_dim)
    bias[2], bias[4] = 1.0, 1.6  # time: periods of thirty and of a hundred and forty latent frames
    for start in (time, time + space):
        bias[start] = 1.0  # a period of six tokens
        bias[start + 2] = 1.0  # and one of forty, to tell the repetitions apart
    return bias * 2


def _dirac(weight: Tensor) -> Tensor:
    """Identity across channels and in time, blur across space."""
    out = torch.zeros_like(weight)
    for channel in range(min(weight.shape[:2])):
        out[channel, channel, -1] = BLUR
    return out
