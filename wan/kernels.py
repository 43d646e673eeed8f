"""The functions of a block that have more than one implementation, and their definitions in plain torch.

Here tokens are ordered by frame, with equally many for each; `shift`, `scale` and `gate` [frames, dim] hold one row per
frame. Arithmetic is in float32 and rounded once, to the type of x.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from wan.backends import Attend, sdpa
from wan.errors import TritonUnavailable
from wan.rope import rotate


def norm_modulate(x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
    """LayerNorm(x) * (1 + scale) + shift, of x [tokens, dim]; the norm has no weights of its own."""
    normed = F.layer_norm(x.float(), (x.shape[-1],), eps=eps)
    frames = torch.unflatten(normed, 0, (shift.shape[0], -1))
    return torch.addcmul(shift.float()[:, None], frames, 1 + scale.float()[:, None]).flatten(0, 1).to(x.dtype)


def norm_rotate(x: Tensor, weight: Tensor, eps: float, rotations: Tensor, heads: int) -> Tensor:
    """RMSNorm of x [tokens, dim] over the full width with gain `weight` [dim], split into heads and rotated.

    `rotations` are those of `wan.rope.Rope.at`, float32 [2, tokens, head_dim/2]. Returns [tokens, heads, head_dim].
    """
    normed = F.rms_norm(x.float(), (x.shape[-1],), weight.float(), eps)
    return rotate(torch.unflatten(normed, -1, (heads, -1)), rotations).to(x.dtype)


def gate_add(x: Tensor, y: Tensor, gate: Tensor) -> Tensor:
    """x + y * gate, of x and y [tokens, dim]."""
    gated = torch.unflatten(y.float(), 0, (gate.shape[0], -1)) * gate.float()[:, None]
    return (x.float() + gated.flatten(0, 1)).to(x.dtype)


@dataclass(frozen=True, slots=True)
class Kernels:
    """One implementation of each; the defaults are the definitions."""

    attend: Attend = sdpa
    norm_modulate: Callable[[Tensor, Tensor, Tensor, float], Tensor] = norm_modulate
    norm_rotate: Callable[[Tensor, Tensor, float, Tensor, int], Tensor] = norm_rotate
    gate_add: Callable[[Tensor, Tensor, Tensor], Tensor] = gate_add


def triton(attend: Attend = sdpa) -> Kernels:
    """The Triton implementations. Raises TritonUnavailable when Triton or a GPU for it is missing.

    With TRITON_INTERPRET=1 in the environment before Triton is first imported, they run on a CPU, very slowly.
    """
    if not torch.cuda.is_available() and os.environ.get("TRITON_INTERPRET") != "1":
        raise TritonUnavailable("triton", "needs a CUDA device")
    try:
        from wan import triton_kernels
    except ImportError as error:
        raise TritonUnavailable("triton", f"cannot be imported: {error}") from error
    return Kernels(attend, triton_kernels.norm_modulate, triton_kernels.norm_rotate, triton_kernels.gate_add)
