"""The causal Wan2.2 diffusion transformer, one stream at a time (no batch dimension).

Parameter names and shapes are those of the released checkpoints (825 tensors at 30 blocks). A chunk's tokens are
ordered frame, row, column. Output is the flow, noise - clean.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from wan.attention import CrossAttention, KeysValues, SelfAttention, Window
from wan.configs import DiTConfig


def sinusoid(positions: Tensor, dim: int) -> Tensor:
    """Cosines then sines of positions [n] at dim/2 frequencies 10000^(-i/(dim/2)): float64 [n, dim]."""
    half = dim // 2
    frequencies = 10000.0 ** (-torch.arange(half, dtype=torch.float64, device=positions.device) / half)
    angles = torch.outer(positions.double(), frequencies)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class Block(nn.Module):
    """Self-attention, cross-attention and feed-forward; the first and the last are modulated by the timestep."""

    def __init__(self, config: DiTConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.norm1 = nn.LayerNorm(config.dim, config.eps, elementwise_affine=False)
        self.self_attn = SelfAttention(config.dim, config.heads, config.eps)
        self.norm3 = nn.LayerNorm(config.dim, config.eps)
        self.cross_attn = CrossAttention(config.dim, config.heads, config.eps)
        self.norm2 = nn.LayerNorm(config.dim, config.eps, elementwise_affine=False)
        self.ffn = nn.Sequential(
            nn.Linear(config.dim, config.ffn_dim), nn.GELU(approximate="tanh"), nn.Linear(config.ffn_dim, config.dim)
        )
        self.modulation = nn.Parameter(Tensor(1, 6, config.dim))

    def remember(self, x: Tensor, time: Tensor, rotations: Tensor, window: Window) -> None:
        """Only write the block's keys and values: all that a commit needs of the last block."""
        shift, scale = (time + self.modulation).unbind(1)[:2]
        self.self_attn.remember(modulate(self.norm1(x), shift, scale), rotations, window, self.layer)

    def forward(self, x: Tensor, time: Tensor, text: KeysValues, rotations: Tensor, window: Window) -> Tensor:
        """x [tokens, dim], time [frames, 6, dim] -> [tokens, dim]."""
        shift1, scale1, gate1, shift2, scale2, gate2 = (time + self.modulation).unbind(1)
        x = x + gate(self.self_attn(modulate(self.norm1(x), shift1, scale1), rotations, window, self.layer), gate1)
        x = x + self.cross_attn(self.norm3(x), text)
        return x + gate(self.ffn(modulate(self.norm2(x), shift2, scale2)), gate2)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """x [tokens, dim] * (1 + scale) + shift, with one shift and scale [frames, dim] per frame."""
    frames = torch.unflatten(x, 0, (shift.shape[0], -1))
    return torch.addcmul(shift[:, None], frames, 1 + scale[:, None]).flatten(0, 1)


def gate(x: Tensor, amount: Tensor) -> Tensor:
    """x [tokens, dim] * amount, with one amount [frames, dim] per frame."""
    return (torch.unflatten(x, 0, (amount.shape[0], -1)) * amount[:, None]).flatten(0, 1)


class Head(nn.Module):
    """Modulated norm and the projection of each token to its patch."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.dim, config.eps, elementwise_affine=False)
        self.head = nn.Linear(config.dim, config.patch * config.patch * config.channels)
        self.modulation = nn.Parameter(Tensor(1, 2, config.dim))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """x [tokens, dim], embedding [frames, dim] -> [tokens, patch*patch*channels]."""
        shift, scale = (embedding[:, None] + self.modulation).unbind(1)
        out: Tensor = self.head(modulate(self.norm(x), shift, scale))
        return out


class DiT(nn.Module):
    """The generator. Text comes in as keys and values per block, made once per prompt by `encode_text`."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = config
        dim, patch = config.dim, (1, config.patch, config.patch)
        self.patch_embedding = nn.Conv3d(config.channels, dim, patch, patch)
        self.text_embedding = nn.Sequential(
            nn.Linear(config.text_dim, dim), nn.GELU(approximate="tanh"), nn.Linear(dim, dim)
        )
        self.time_embedding = nn.Sequential(nn.Linear(config.freq_dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.layers))
        self.head = Head(config)

    def encode_text(self, embeddings: Tensor) -> list[KeysValues]:
        """Embeddings [rows <= text_len, text_dim] of a prompt -> keys and values of each block's cross-attention.

        Missing rows are zero rows, and zero rows are attended like any other: that is how the model was trained.
        """
        missing = self.config.text_len - embeddings.shape[0]
        text = self.text_embedding(F.pad(embeddings, (0, 0, 0, missing)).to(self.patch_embedding.weight.dtype))
        return [block.cross_attn.encode(text) for block in self._blocks()]

    def forward(
        self, x: Tensor, timesteps: Tensor, text: list[KeysValues], rotations: Tensor, window: Window
    ) -> Tensor:
        """Flow of latents x [frames, channels, height, width] at timesteps [frames]; same shape as x."""
        tokens, embedding, time = self._enter(x, timesteps)
        for block, keys_values in zip(self._blocks(), text, strict=True):
            tokens = block(tokens, time, keys_values, rotations, window)
        return self._leave(self.head(tokens, embedding), x)

    def remember(self, x: Tensor, timesteps: Tensor, text: list[KeysValues], rotations: Tensor, window: Window) -> None:
        """Like `forward`, but only for the keys and values left in the window; the last block's output is skipped."""
        tokens, _, time = self._enter(x, timesteps)
        *blocks, last = self._blocks()
        for block, keys_values in zip(blocks, text, strict=False):
            tokens = block(tokens, time, keys_values, rotations, window)
        last.remember(tokens, time, rotations, window)

    def _blocks(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]

    def _enter(self, x: Tensor, timesteps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens [tokens, dim], time embedding [frames, dim] and its projection [frames, 6, dim]."""
        patch = self.config.patch
        weight = self.patch_embedding.weight
        frames, channels, height, width = x.shape
        # The patches do not overlap: the convolution is a linear map of each patch, (channel, row, column) in order.
        grid = x.to(weight.dtype).view(frames, channels, height // patch, patch, width // patch, patch)
        patches = grid.permute(0, 2, 4, 1, 3, 5)
        tokens = F.linear(patches.reshape(-1, weight[0].numel()), weight.flatten(1), self.patch_embedding.bias)
        embedding = self.time_embedding(sinusoid(timesteps, self.config.freq_dim).to(weight.dtype))
        return tokens, embedding, torch.unflatten(self.time_projection(embedding), 1, (6, -1))

    def _leave(self, tokens: Tensor, x: Tensor) -> Tensor:
        """Patches [tokens, (row, column, channel)] back to the shape of x."""
        frames, channels, height, width = x.shape
        patch = self.config.patch
        grid = tokens.view(frames, height // patch, width // patch, patch, patch, channels)
        return grid.permute(0, 5, 1, 3, 2, 4).reshape(x.shape)
