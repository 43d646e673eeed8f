"""FP8 linears for the transformer: e4m3 weights with a scale per output, e4m3 activations with a scale per token.

The activations' scales are found at run time. Finding them reads the activations once and rounding them reads them
again, before the matrix product does: run eagerly these are passes of their own over memory, and a compiler that fuses
them into whatever made the activations saves them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wan.backends import E4M3_MAX
from wan.dit import DiT
from wan.errors import Fp8Unavailable

ALIGNMENT = 16
"""The sizes of a row-wise scaled product are multiples of this."""

_CAPABILITY = (8, 9)
"""The first compute capability with e4m3 matrix products."""


def quantise_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """[rows, columns] -> e4m3 values of the same shape and their scales, float32 [rows, 1]; a zero row is safe."""
    scale = (x.abs().amax(dim=1, keepdim=True).float() / E4M3_MAX).clamp_min(torch.finfo(torch.float32).tiny)
    return (x.float() / scale).clamp(-E4M3_MAX, E4M3_MAX).to(torch.float8_e4m3fn), scale


class Fp8Linear(nn.Module):
    """A linear map of tokens. Buffers: weight e4m3 [outputs, inputs], scale float32 [outputs, 1], bias bfloat16.

    The product comes out in bfloat16 whatever goes in. Make it last: `Module.to(dtype)` would convert the buffers.
    """

    weight: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        """From a loaded linear, on its device. Raises ValueError for a size that is no multiple of 16, and
        Fp8Unavailable for a device without FP8 products."""
        super().__init__()
        if linear.in_features % ALIGNMENT or linear.out_features % ALIGNMENT:
            sizes = f"{linear.in_features} -> {linear.out_features}"
            raise ValueError(f"an FP8 linear needs sizes that are multiples of {ALIGNMENT}, not {sizes}")
        require(linear.weight.device)
        weight, scale = quantise_rows(linear.weight.detach())
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().bfloat16())

    def forward(self, x: Tensor) -> Tensor:
        """[tokens, inputs] -> [tokens, outputs] in the type of x."""
        values, scale = quantise_rows(x)
        # Fast accumulation keeps the partial sums inside the tensor cores, at less than float32 precision; the rounding
        # of the inputs outweighs what that loses.
        out: Tensor = torch._scaled_mm(
            values,
            self.weight.t(),
            scale_a=scale,
            scale_b=self.scale.t(),
            bias=self.bias,
            out_dtype=torch.bfloat16,
            use_fast_accum=True,
        )
        return out.to(x.dtype)


def quantise(dit: DiT) -> int:
    """Replace every linear of the blocks and return how many; one after the other, to never hold both copies of all.

    The embeddings of text and time and the head stay as they are. Raises as `Fp8Linear` does.
    """
    require(dit.patch_embedding.weight.device)
    replaced = 0
    for parent in list(dit.blocks.modules()):
        for name, linear in list(parent.named_children()):
            if isinstance(linear, nn.Linear):
                setattr(parent, name, Fp8Linear(linear))
                replaced += 1
    return replaced


def require(device: torch.device) -> None:
    """Raises Fp8Unavailable when the device has no FP8 matrix products. Torch has them for a CPU, to test with."""
    if device.type == "cpu":
        return
    if device.type != "cuda":
        raise Fp8Unavailable("fp8", f"needs a CUDA device, not {device}")
    if (capability := torch.cuda.get_device_capability(device)) < _CAPABILITY:
        needed, found = (".".join(map(str, version)) for version in (_CAPABILITY, capability))
        raise Fp8Unavailable("fp8", f"needs compute capability {needed} or later; {device} has {found}")
