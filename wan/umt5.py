"""The UMT5 text encoder: every block has its own relative-position bias, attention is not scaled, nothing has a bias.

Raffel et al. (2020) for the T5 architecture, Chung et al., "UniMax" (2023) for the per-layer bias. Parameter names are
those of the released Wan checkpoints (242 tensors at 24 blocks).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from wan.attention import RMSNorm
from wan.configs import UMT5Config


def buckets(length: int, count: int, max_distance: int) -> Tensor:
    """Bucket of every (query, key) pair, int64 [length, length]: half of the buckets for each direction, exact up to a
    quarter of them, then logarithmic up to `max_distance`."""
    position = torch.arange(length)
    distance = position[None] - position[:, None]
    half = count // 2
    exact = half // 2
    far = distance.abs().clamp(min=1).float()
    scale = torch.log(far / exact) / math.log(max_distance / exact) * (half - exact)
    log_bucket = (exact + scale.long()).clamp(max=half - 1)
    return torch.where(distance > 0, half, 0) + torch.where(distance.abs() < exact, distance.abs(), log_bucket)


class RelativeBias(nn.Module):
    """A learned logit per bucket and head."""

    def __init__(self, config: UMT5Config) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.buckets, config.heads)

    def forward(self, buckets: Tensor) -> Tensor:
        """[n, n] -> [heads, n, n]."""
        bias: Tensor = self.embedding(buckets)
        return bias.permute(2, 0, 1)


class TextAttention(nn.Module):
    """Bidirectional attention with a logit bias, softmax in float32."""

    def __init__(self, config: UMT5Config) -> None:
        super().__init__()
        self.heads = config.heads
        self.q = nn.Linear(config.dim, config.attn_dim, bias=False)
        self.k = nn.Linear(config.dim, config.attn_dim, bias=False)
        self.v = nn.Linear(config.dim, config.attn_dim, bias=False)
        self.o = nn.Linear(config.attn_dim, config.dim, bias=False)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """x [n, dim], bias [heads, n, n] -> [n, dim]."""
        q, k, v = (torch.unflatten(part(x), -1, (self.heads, -1)).transpose(0, 1) for part in (self.q, self.k, self.v))
        weights = (q @ k.transpose(1, 2) + bias).float().softmax(-1).to(v.dtype)
        out: Tensor = self.o((weights @ v).transpose(0, 1).flatten(1))
        return out


class GatedFFN(nn.Module):
    """fc2(fc1(x) * gelu(gate(x)))."""

    def __init__(self, config: UMT5Config) -> None:
        super().__init__()
        self.gate = nn.Sequential(nn.Linear(config.dim, config.ffn_dim, bias=False), nn.GELU(approximate="tanh"))
        self.fc1 = nn.Linear(config.dim, config.ffn_dim, bias=False)
        self.fc2 = nn.Linear(config.ffn_dim, config.dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[n, dim] -> [n, dim]."""
        out: Tensor = self.fc2(self.fc1(x) * self.gate(x))
        return out


class TextBlock(nn.Module):
    """Pre-norm attention and feed-forward."""

    def __init__(self, config: UMT5Config) -> None:
        super().__init__()
        self.norm1 = RMSNorm(config.dim, config.eps)
        self.attn = TextAttention(config)
        self.norm2 = RMSNorm(config.dim, config.eps)
        self.ffn = GatedFFN(config)
        self.pos_embedding = RelativeBias(config)

    def forward(self, x: Tensor, buckets: Tensor) -> Tensor:
        """[n, dim] -> [n, dim]."""
        x = x + self.attn(self.norm1(x), self.pos_embedding(buckets))
        out: Tensor = x + self.ffn(self.norm2(x))
        return out


class UMT5(nn.Module):
    """Encodes one prompt at its real length: padding would be masked anyway, so it is never computed."""

    def __init__(self, config: UMT5Config) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab, config.dim)
        self.blocks = nn.ModuleList(TextBlock(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.dim, config.eps)

    def forward(self, ids: Tensor) -> Tensor:
        """Token ids [n], end-of-text included -> embeddings [n, dim]."""
        x = self.token_embedding(ids)
        table = buckets(len(ids), self.config.buckets, self.config.max_distance).to(ids.device)
        for block in self.blocks:
            x = block(x, table)
        out: Tensor = self.norm(x)
        return out
