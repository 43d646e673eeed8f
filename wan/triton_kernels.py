"""`wan.kernels` in Triton: one program per token, which reads its row once and writes it once.

Importing this module needs Triton. The functions are torch operators, so a compiled graph holds them unbroken.
"""
# mypy: disable-error-code="import-untyped, import-not-found"
# mypy: allow-untyped-decorators, allow-untyped-defs, allow-incomplete-defs

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.library import triton_op, wrap_triton

_WARPS = 8
"""Per program: at 3072 values in a row, 16 per thread and 16-byte accesses."""


@triton.jit
def _norm_modulate(
    x,
    shift,
    scale,
    out,
    x_stride,
    shift_stride,
    scale_stride,
    per_frame,
    eps,
    dim: tl.constexpr,
    block: tl.constexpr,
):
    token = tl.program_id(0).to(tl.int64)
    frame = token // per_frame
    place = tl.arange(0, block)
    inside = place < dim
    row = tl.load(x + token * x_stride + place, mask=inside, other=0.0).to(tl.float32)
    centred = tl.where(inside, row - tl.sum(row, axis=0) / dim, 0.0)
    normed = centred * tl.rsqrt(tl.sum(centred * centred, axis=0) / dim + eps)
    by = tl.load(scale + frame * scale_stride + place, mask=inside, other=0.0).to(tl.float32)
    to = tl.load(shift + frame * shift_stride + place, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + token * dim + place, normed * (1 + by) + to, mask=inside)


@triton.jit
def _norm_rotate(
    x,
    weight,
    rotations,
    out,
    x_stride,
    tokens,
    eps,
    dim: tl.constexpr,
    half: tl.constexpr,
    block: tl.constexpr,
):
    token = tl.program_id(0).to(tl.int64)
    place = tl.arange(0, block)
    inside = place < dim
    row = tl.load(x + token * x_stride + place, mask=inside, other=0.0).to(tl.float32)
    gain = tl.load(weight + place, mask=inside, other=0.0).to(tl.float32)
    normed = row * tl.rsqrt(tl.sum(row * row, axis=0) / dim + eps) * gain
    even, odd = tl.split(tl.reshape(normed, (block // 2, 2)))
    pair = tl.arange(0, block // 2)
    angle = token * half + pair % half
    cos = tl.load(rotations + angle, mask=pair < dim // 2, other=0.0)
    sin = tl.load(rotations + tokens * half + angle, mask=pair < dim // 2, other=0.0)
    turned = tl.join(even * cos - odd * sin, even * sin + odd * cos)
    tl.store(out + token * dim + place, tl.reshape(turned, (block,)), mask=inside)


@triton.jit
def _gate_add(
    x,
    y,
    gate,
    out,
    x_stride,
    y_stride,
    gate_stride,
    per_frame,
    dim: tl.constexpr,
    block: tl.constexpr,
):
    token = tl.program_id(0).to(tl.int64)
    place = tl.arange(0, block)
    inside = place < dim
    to = tl.load(x + token * x_stride + place, mask=inside, other=0.0).to(tl.float32)
    row = tl.load(y + token * y_stride + place, mask=inside, other=0.0).to(tl.float32)
    by = tl.load(gate + token // per_frame * gate_stride + place, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + token * dim + place, to + row * by, mask=inside)


@triton_op("wan::norm_modulate", mutates_args={})
def norm_modulate(x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
    """See `wan.kernels.norm_modulate`. Rows may lie apart, but the last dimension of each tensor is contiguous."""
    _check(x, shift, scale)
    (tokens, dim), frames = x.shape, shift.shape[0]
    out = torch.empty((tokens, dim), dtype=x.dtype, device=x.device)
    wrap_triton(_norm_modulate)[(tokens,)](
        x,
        shift,
        scale,
        out,
        x.stride(0),
        shift.stride(0),
        scale.stride(0),
        tokens // frames,
        eps,
        dim=dim,
        block=triton.next_power_of_2(dim),
        num_warps=_WARPS,
    )
    return out


@triton_op("wan::norm_rotate", mutates_args={})
def norm_rotate(x: Tensor, weight: Tensor, eps: float, rotations: Tensor, heads: int) -> Tensor:
    """See `wan.kernels.norm_rotate`. Rows may lie apart; the weight and the rotations are contiguous."""
    _check(x, x, weight)
    assert rotations.is_contiguous()
    tokens, dim = x.shape
    out = torch.empty((tokens, heads, dim // heads), dtype=x.dtype, device=x.device)
    wrap_triton(_norm_rotate)[(tokens,)](
        x,
        weight,
        rotations,
        out,
        x.stride(0),
        tokens,
        eps,
        dim=dim,
        half=dim // heads // 2,
        block=triton.next_power_of_2(dim),
        num_warps=_WARPS,
    )
    return out


@triton_op("wan::gate_add", mutates_args={})
def gate_add(x: Tensor, y: Tensor, gate: Tensor) -> Tensor:
    """See `wan.kernels.gate_add`. Rows may lie apart, but the last dimension of each tensor is contiguous."""
    _check(x, gate, y)
    (tokens, dim), frames = x.shape, gate.shape[0]
    out = torch.empty((tokens, dim), dtype=x.dtype, device=x.device)
    wrap_triton(_gate_add)[(tokens,)](
        x,
        y,
        gate,
        out,
        x.stride(0),
        y.stride(0),
        gate.stride(0),
        tokens // frames,
        dim=dim,
        block=triton.next_power_of_2(dim),
        num_warps=_WARPS,
    )
    return out


def _check(x: Tensor, frames: Tensor, *rows: Tensor) -> None:
    """What the kernels take for granted of x [tokens, dim], something [frames, dim], and any other rows."""
    assert all(tensor.stride(-1) == 1 for tensor in (x, frames, *rows)), "rows must be contiguous"
    assert x.shape[0] % frames.shape[0] == 0, "each frame has as many tokens"
