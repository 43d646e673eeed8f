"""NaN and infinite values, found in one pass without a copy of the tensor."""

from __future__ import annotations

import torch
from torch import Tensor

PIECE = 1 << 24
"""Numbers looked at together: what is counted in detail needs a few times as much memory."""


def count_non_finite(tensor: Tensor) -> int:
    """How many of the tensor's values are NaN or infinite; it is left on its device."""
    return sum(_count(piece) for piece in torch.split(tensor.reshape(-1), PIECE))


def _count(values: Tensor) -> int:
    if values.numel() == 0:
        return 0
    # A NaN anywhere makes both extremes NaN; an infinite value is an extreme itself.
    low, high = torch.aminmax(values)
    if torch.isfinite(low) and torch.isfinite(high):
        return 0
    return int((~torch.isfinite(values)).sum())
