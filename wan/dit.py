"""The causal Wan2.2 diffusion transformer, one stream at a time (no batch dimension).

Parameter names and shapes are those of the released checkpoints (825 tensors at 30 blocks). A chunk's tokens are
ordered frame, row, column. Output is the flow, noise - clean.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from wan.attention import CrossAttention, KeysValues, SelfAttention, Window
from wan.configs import DiTConfig
from wan.kernels import Kernels, norm_modulate


def sinusoid(positions: Tensor, dim: int) -> Tensor:
    """Cosines then sines of positions [n] at dim/2 frequencies 10000^(-i/(dim/2)): float64 [n, dim]."""
    half = dim // 2
    frequencies = 10000.0 ** (-torch.arange(half, dtype=torch.float64, device=positions.device) / half)
    angles = torch.outer(positions.double(), frequencies)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class Block(nn.Module):
    """Self-attention, cross-attention and feed-forward; the first and the last are modulated by the timestep.

    It comes in two halves, before and after the attention to the window: whatever the window holds, the tensors that
    a half meets have one shape, so each half is compiled once, for all blocks and all chunks.
    """

    def __init__(self, config: DiTConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.eps = config.eps
        self.kernels = Kernels()
        self.self_attn = SelfAttention(config.dim, config.heads, config.eps)
        self.norm3 = nn.LayerNorm(config.dim, config.eps)
        self.cross_attn = CrossAttention(config.dim, config.heads, config.eps)
        self.ffn = nn.Sequential(
            nn.Linear(config.dim, config.ffn_dim), nn.GELU(approximate="tanh"), nn.Linear(config.ffn_dim, config.dim)
        )
        self.modulation = nn.Parameter(torch.empty(1, 6, config.dim))

    def enter(self, x: Tensor, time: Tensor, rotations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x [tokens, dim], time [frames, 6, dim] -> queries, keys, values [tokens, heads, head_dim]."""
        shift, scale = (time + self.modulation).unbind(1)[:2]
        return self.self_attn.project(self.kernels.norm_modulate(x, shift, scale, self.eps), rotations, self.kernels)

    def leave(self, x: Tensor, mixed: Tensor, time: Tensor, text: KeysValues) -> Tensor:
        """x [tokens, dim] and what self-attention mixed for it [tokens, heads, head_dim] -> [tokens, dim]."""
        _, _, gate1, shift2, scale2, gate2 = (time + self.modulation).unbind(1)
        x = self.kernels.gate_add(x, self.self_attn.o(mixed.flatten(1)), gate1)
        x = x + self.cross_attn(self.norm3(x), text)
        return self.kernels.gate_add(x, self.ffn(self.kernels.norm_modulate(x, shift2, scale2, self.eps)), gate2)


class Head(nn.Module):
    """Modulated norm and the projection of each token to its patch."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.eps = config.eps
        self.head = nn.Linear(config.dim, config.patch * config.patch * config.channels)
        self.modulation = nn.Parameter(torch.empty(1, 2, config.dim))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """x [tokens, dim], embedding [frames, dim] -> [tokens, patch*patch*channels]."""
        shift, scale = (embedding[:, None] + self.modulation).unbind(1)
        out: Tensor = self.head(norm_modulate(x, shift, scale, self.eps))
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
        self._kernels = Kernels()
        self._enter, self._leave = Block.enter, Block.leave

    def use(self, kernels: Kernels) -> None:
        """Compute with these kernels from now on."""
        self._kernels = kernels
        for block in self._blocks():
            block.kernels = kernels

    def compile_blocks(self, compiler: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        """Put `compiler(half)` in the place of each half of a block: one function for all blocks, each."""
        self._enter, self._leave = compiler(Block.enter), compiler(Block.leave)

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
        tokens, embedding, time = self._embed(x, timesteps)
        for block, keys_values in zip(self._blocks(), text, strict=True):
            tokens = self._pass(block, tokens, time, keys_values, rotations, window)
        return self._unpatch(self.head(tokens, embedding), x)

    def remember(self, x: Tensor, timesteps: Tensor, text: list[KeysValues], rotations: Tensor, window: Window) -> None:
        """Like `forward`, but only for the keys and values left in the window; the last block's output is skipped."""
        tokens, _, time = self._embed(x, timesteps)
        *blocks, last = self._blocks()
        for block, keys_values in zip(blocks, text, strict=False):
            tokens = self._pass(block, tokens, time, keys_values, rotations, window)
        _, keys, values = self._enter(last, tokens, time, rotations)
        window.put(last.layer, keys, values)

    def _pass(
        self, block: Block, x: Tensor, time: Tensor, text: KeysValues, rotations: Tensor, window: Window
    ) -> Tensor:
        queries, keys, values = self._enter(block, x, time, rotations)
        q, k, v = (part.transpose(0, 1) for part in (queries, *window.put(block.layer, keys, values)))
        return self._leave(block, x, self._kernels.attend(q, k, v).transpose(0, 1), time, text)

    def _blocks(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]

    def _embed(self, x: Tensor, timesteps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
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

    def _unpatch(self, tokens: Tensor, x: Tensor) -> Tensor:
        """Patches [tokens, (row, column, channel)] back to the shape of x."""
        frames, channels, height, width = x.shape
        patch = self.config.patch
        grid = tokens.view(frames, height // patch, width // patch, patch, patch, channels)
        return grid.permute(0, 5, 1, 3, 2, 4).reshape(x.shape)
