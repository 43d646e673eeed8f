"""The kernels against their definitions in float64. On a GPU the Triton ones run for real; without one, in Triton's
interpreter, which must be chosen before Triton is first imported: in a process of its own."""

import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

import wan
from wan import kernels
from wan.attention import RMSNorm
from wan.errors import TritonUnavailable
from wan.kernels import Kernels
from wan.rope import Rope, rotate

pytestmark = pytest.mark.slow

GPU = torch.cuda.is_available()
DEVICE = "cuda" if GPU else "cpu"
EPS = 1e-6
Sizes = tuple[int, tuple[int, int], int, int]  # frames, grid, heads, head_dim
SIZES = [(1, (1, 5), 2, 32), (3, (2, 2), 3, 24), (2, (1, 3), 5, 14), (2, (1, 2), 24, 128)]
DTYPES = [torch.float32, torch.bfloat16]
NAMES = ["norm_modulate", "norm_rotate", "gate_add"]
needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="needs Triton")


class Inputs:
    """Random tokens, every operand a strided view as the model makes them."""

    def __init__(self, sizes: Sizes, dtype: torch.dtype, device: str = DEVICE) -> None:
        frames, grid, self.heads, width = sizes
        generator = torch.Generator().manual_seed(frames)
        tokens, dim = frames * grid[0] * grid[1], self.heads * width

        def rows(count: int, parts: int) -> tuple[Tensor, ...]:
            return torch.randn(count, parts, dim, generator=generator).to(device, dtype).unbind(1)

        self.x, self.y = rows(tokens, 2)
        self.shift, self.scale, self.gate = rows(frames, 3)
        self.weight = torch.randn(dim, generator=generator).to(device, dtype)
        self.rotations = Rope(width, *grid, device=device).at(5, frames)

    def run(self, implementation: Kernels, name: str) -> Tensor:
        match name:
            case "norm_modulate":
                return implementation.norm_modulate(self.x, self.shift, self.scale, EPS)
            case "norm_rotate":
                return implementation.norm_rotate(self.x, self.weight, EPS, self.rotations, self.heads)
            case _:
                return implementation.gate_add(self.x, self.y, self.gate)

    def exact(self, name: str) -> Tensor:
        """From the formulas, in float64; rotations are products of complex numbers."""
        x = self.x.double()
        shift, scale, gate = (
            part.double().repeat_interleave(len(x) // len(part), dim=0) for part in (self.shift, self.scale, self.gate)
        )
        match name:
            case "norm_modulate":
                normed = (x - x.mean(1, keepdim=True)) / (x.var(1, correction=0, keepdim=True) + EPS).sqrt()
                return normed * (1 + scale) + shift
            case "norm_rotate":
                normed = x / (x.square().mean(1, keepdim=True) + EPS).sqrt() * self.weight.double()
                pairs = torch.view_as_complex(normed.unflatten(1, (self.heads, -1, 2)))
                turned = pairs * torch.complex(*self.rotations.double())[:, None]
                return torch.view_as_real(turned).flatten(-2)
            case _:
                return x + self.y.double() * gate


def excess(make: Callable[[], Kernels], name: str, dtype: torch.dtype, sizes: Sizes, ulps: float = 0.5) -> float:
    """The largest error, less that of rounding the exact value to bfloat16 where that is the type."""
    inputs = Inputs(sizes, dtype)
    out, exact = inputs.run(make(), name), inputs.exact(name)
    assert (out.shape, out.dtype) == (exact.shape, dtype)
    rounding = ulps * torch.finfo(dtype).eps if dtype == torch.bfloat16 else 0.0
    return float(((out.double() - exact).abs() - rounding * exact.abs()).max())


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_the_definitions_are_within_one_rounding(name: str, dtype: torch.dtype, sizes: Sizes) -> None:
    assert excess(Kernels, name, dtype, sizes) <= 1e-5


def interpret() -> None:
    os.environ["TRITON_INTERPRET"] = "1"
    torch.set_num_threads(1)


@needs_triton
@pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION")
def test_triton_is_within_one_rounding() -> None:
    cases = [(kernels.triton, name, dtype, sizes) for name in NAMES for dtype in DTYPES for sizes in SIZES]
    if GPU:
        errors = [excess(*case) for case in cases]
    else:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=interpret) as interpreter:
            truncating = partial(excess, ulps=1.0)  # to bfloat16, as the interpreter does
            errors = list(interpreter.map(truncating, *zip(*cases, strict=True)))
    assert [case[1:] for case, error in zip(cases, errors, strict=True) if not error <= 1e-5] == []


@needs_triton
def test_the_kernels_compile_for_hopper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To machine code, with rows read and written 16 bytes at a time: the interpreter shows neither."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from wan import triton_kernels

    constants = {"dim": 3072, "half": 64, "block": 4096}
    types = {"eps": "fp32", "rotations": "*fp32"} | dict.fromkeys(("x", "y", "out", "weight"), "*bf16")
    types |= dict.fromkeys(("shift", "scale", "gate"), "*bf16") | dict.fromkeys(constants, "constexpr")
    for kernel in (triton_kernels._norm_modulate, triton_kernels._norm_rotate, triton_kernels._gate_add):
        signature = {name: types.get(name, "i32") for name in kernel.arg_names}
        aligned = {(at,): [["tt.divisibility", 16]] for at, kind in enumerate(signature.values()) if kind[0] in "*i"}
        values = {name: value for name, value in constants.items() if name in signature}
        binary = triton.compile(
            ASTSource(kernel, signature, values, aligned),
            target=GPUTarget("cuda", 90, 32),
            options={"num_warps": 8, "enable_fp_fusion": True},
        )
        assert binary.asm["cubin"]
        assert "ld.global.v4.b32" in binary.asm["ptx"]
        assert "st.global.v4.b32" in binary.asm["ptx"]


def test_in_float32_the_definitions_are_torch_s_own_layers_to_the_bit() -> None:
    inputs, torch_kernels = Inputs((3, (2, 2), 3, 24), torch.float32, "cpu"), Kernels()

    def by_frame(x: Tensor) -> Tensor:
        return x.unflatten(0, (3, -1))

    normed = by_frame(F.layer_norm(inputs.x, (72,), eps=EPS))
    modulated = torch.addcmul(inputs.shift[:, None], normed, 1 + inputs.scale[:, None]).flatten(0, 1)
    assert torch.equal(inputs.run(torch_kernels, "norm_modulate"), modulated)

    norm = RMSNorm(72, EPS)
    norm.load_state_dict({"weight": inputs.weight})
    rotated = rotate(norm(inputs.x).unflatten(1, (3, 24)), inputs.rotations)
    assert torch.equal(inputs.run(torch_kernels, "norm_rotate"), rotated)

    gated = inputs.x + (by_frame(inputs.y) * inputs.gate[:, None]).flatten(0, 1)
    assert torch.equal(inputs.run(torch_kernels, "gate_add"), gated)


def test_without_triton_its_kernels_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "wan.triton_kernels", raising=False)
    monkeypatch.delattr(wan, "triton_kernels", raising=False)
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.setenv("TRITON_INTERPRET", "1")  # else the missing GPU is told first
    with pytest.raises(TritonUnavailable, match="triton: cannot be imported"):
        kernels.triton()


@pytest.mark.skipif(GPU, reason="needs a machine without a GPU")
def test_without_a_gpu_its_kernels_are_refused() -> None:
    with pytest.raises(TritonUnavailable, match="triton: needs a CUDA device"):
        kernels.triton()
