"""Rotary positions of Wan-family video tokens, over (frame, row, column).

The head dimension is split into three sections, time first; pairs are interleaved (2i, 2i+1) and frequency i of a
section of d dimensions is theta^(-2i/d). Angles are computed from the positions, never looked up, so no position is too
large.
"""

from __future__ import annotations

import torch
from torch import Tensor

THETA = 10000.0


def sections(head_dim: int) -> tuple[int, int, int]:
    """Dimensions given to time, height and width: height and width get 2*(head_dim//6) each, time the remainder."""
    space = 2 * (head_dim // 6)
    return head_dim - 2 * space, space, space


def frequencies(dim: int) -> Tensor:
    """The dim/2 frequencies of one section, float64."""
    return THETA ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)


class Rope:
    """Rotations of a chunk whose tokens are ordered frame, row, column on a fixed grid of rows and columns.

    The spatial angles are made once; `at` adds the temporal ones of the chunk's absolute frame positions.
    """

    def __init__(self, head_dim: int, rows: int, columns: int, device: torch.device | str = "cpu") -> None:
        time, height, width = sections(head_dim)
        row = torch.outer(torch.arange(rows, dtype=torch.float64), frequencies(height))
        column = torch.outer(torch.arange(columns, dtype=torch.float64), frequencies(width))
        space = torch.cat([row[:, None].expand(-1, columns, -1), column[None].expand(rows, -1, -1)], dim=-1)
        self._space = space.reshape(rows * columns, -1)
        self._time = frequencies(time)
        self._device = device

    def at(self, first: float, frames: int) -> Tensor:
        """Rotations of frames from `first` on, cosine then sine: float32 [2, frames*rows*columns, head_dim/2]."""
        time = torch.outer(first + torch.arange(frames, dtype=torch.float64), self._time)
        tokens = self._space.shape[0]
        angles = torch.cat(
            [time[:, None].expand(-1, tokens, -1), self._space[None].expand(frames, -1, -1)], dim=-1
        ).flatten(0, 1)
        return torch.stack([angles.cos(), angles.sin()]).to(self._device, torch.float32)


def rotate(x: Tensor, rotations: Tensor) -> Tensor:
    """Rotate the interleaved pairs of x [tokens, heads, head_dim] by `Rope.at`: in float32, returned in x's type."""
    cos, sin = rotations[0][:, None], rotations[1][:, None]
    even, odd = torch.unflatten(x.float(), -1, (-1, 2)).unbind(-1)
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2).to(x.dtype)
