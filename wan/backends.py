"""The attention backends, of which one is chosen at start-up.

Each is one function `attend(q, k, v)` of [heads, tokens, head_dim] tensors, strided views allowed, k and v with any
number of tokens: softmax attention with scale 1/sqrt(head_dim), no mask. In order of preference:

    fa3     flash-attention 3 (module flash_attn_interface), Hopper only
    fa2     flash-attention 2 (module flash_attn)
    cudnn   torch's attention through cuDNN
    flash   torch's own flash-attention 2
    sdpa    whatever torch chooses by itself; on a CPU its flash attention
    math    plain matrix products and a softmax in memory: the reference

and, because they cost accuracy, only by explicit wish:

    fa3-fp8       flash-attention 3 on e4m3 queries, keys and values, one scale per head each
    fp8-emulated  the same e4m3 roundings of queries, keys and values, then `sdpa`: what they cost, on any device
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from wan.errors import BackendUnavailable

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(q, k, v) -> out, all [heads, tokens, head_dim]."""

PREFERENCE = ("fa3", "fa2", "cudnn", "flash", "sdpa", "math")
"""The order in which `choose` looks for a backend."""

E4M3_MAX = 448.0
"""The largest finite value of torch.float8_e4m3fn."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Backend:
    """A backend that has run on the device it was chosen for."""

    name: str
    attend: Attend


def choose(device: torch.device | str, dtype: torch.dtype, wanted: str = "auto") -> Backend:
    """The wanted backend, or the first of `PREFERENCE` that runs on `device` with tensors of `dtype`; logged.

    Raises BackendUnavailable with the reason when the wanted one does not run here or is not known.
    """
    device = torch.device(device)
    refusals: list[str] = []
    for name in PREFERENCE if wanted == "auto" else (wanted,):
        try:
            backend = Backend(name, _load(name, device, dtype))
        except BackendUnavailable as unavailable:
            if wanted != "auto":
                raise
            refusals.append(str(unavailable))
        else:
            why = "by wish" if wanted != "auto" else "; ".join(["first that runs", *refusals])
            _log.info("attention backend on %s for %s: %s (%s)", device, dtype, name, why)
            return backend
    raise BackendUnavailable(wanted, "; ".join(refusals))


def available(device: torch.device | str, dtype: torch.dtype) -> tuple[str, ...]:
    """The names of all backends that run on `device` with tensors of `dtype`, the explicit ones included."""
    return tuple(name for name in _KINDS if not refusal(name, device, dtype))


def refusal(name: str, device: torch.device | str, dtype: torch.dtype) -> str:
    """Why the backend does not run there; empty if it does."""
    try:
        _load(name, torch.device(device), dtype)
    except BackendUnavailable as unavailable:
        return unavailable.reason
    return ""


def sdpa(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Torch's own choice of kernel."""
    return F.scaled_dot_product_attention(q[None], k[None], v[None])[0]


def quantise_heads(x: Tensor) -> tuple[Tensor, Tensor]:
    """[heads, tokens, head_dim] -> e4m3 values of that shape and their scales, float32 [heads]; a zero head is safe."""
    amax = x.abs().amax(dim=(1, 2)).float()
    scale = (amax / E4M3_MAX).clamp_min(torch.finfo(torch.float32).tiny)
    values = (x.float() / scale[:, None, None]).clamp(-E4M3_MAX, E4M3_MAX)
    return values.to(torch.float8_e4m3fn), scale


def _fp8_emulated(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The probabilities, which flash-attention 3 rounds to e4m3 too, are not rounded here."""
    return sdpa(*(_round(x) for x in (q, k, v)))


def _round(x: Tensor) -> Tensor:
    values, scale = quantise_heads(x)
    return (values.float() * scale[:, None, None]).to(x.dtype)


def _through(kernel: SDPBackend) -> Attend:
    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        with sdpa_kernel(kernel):
            return sdpa(q, k, v)

    return attend


def _flash_attn(module: str) -> Attend:
    """Both generations take and give [batch, tokens, heads, head_dim]; the last dimension is contiguous."""
    flash_attn_func = import_module(module).flash_attn_func

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return _result(flash_attn_func(*(_batched(x) for x in (q, k, v))))

    return attend


def _fa3_fp8() -> Attend:
    """The scales go in as float32 [batch, heads]; the result comes out in bfloat16."""
    flash_attn_func = import_module("flash_attn_interface").flash_attn_func

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        (q8, q_scale), (k8, k_scale), (v8, v_scale) = (quantise_heads(x) for x in (q, k, v))
        descale = {"q_descale": q_scale[None], "k_descale": k_scale[None], "v_descale": v_scale[None]}
        return _result(flash_attn_func(*(_batched(x) for x in (q8, k8, v8)), **descale)).to(q.dtype)

    return attend


def _batched(x: Tensor) -> Tensor:
    return x.transpose(0, 1)[None]


def _result(out: Tensor | tuple[Tensor, ...]) -> Tensor:
    """Early releases of flash-attention 3 return the log-sum-exp beside the result."""
    return (out if isinstance(out, Tensor) else out[0])[0].transpose(0, 1)


@dataclass(frozen=True, slots=True)
class _Kind:
    """How to make a backend, and the major compute capabilities it needs: None for any device and dtype."""

    make: Callable[[], Attend]
    majors: range | None = None


_HOPPER, _AMPERE_OR_LATER = range(9, 10), range(8, 100)

_KINDS = {
    "fa3": _Kind(partial(_flash_attn, "flash_attn_interface"), _HOPPER),
    "fa2": _Kind(partial(_flash_attn, "flash_attn"), _AMPERE_OR_LATER),
    "cudnn": _Kind(partial(_through, SDPBackend.CUDNN_ATTENTION), _AMPERE_OR_LATER),
    "flash": _Kind(partial(_through, SDPBackend.FLASH_ATTENTION), _AMPERE_OR_LATER),
    "sdpa": _Kind(lambda: sdpa),
    "math": _Kind(partial(_through, SDPBackend.MATH)),
    "fa3-fp8": _Kind(_fa3_fp8, _HOPPER),
    "fp8-emulated": _Kind(lambda: _fp8_emulated),
}


def _load(name: str, device: torch.device, dtype: torch.dtype) -> Attend:
    """The function of a backend, after it has run once on the device."""
    if name not in _KINDS:
        raise BackendUnavailable(name, f"there is no such attention backend; there are {', '.join(_KINDS)}")
    kind = _KINDS[name]
    if kind.majors is not None:
        _check(name, kind.majors, device, dtype)
    try:
        attend = kind.make()
    except (ImportError, OSError) as error:  # OSError: a library built for another torch
        raise BackendUnavailable(name, f"cannot be imported: {error}") from error
    _try(name, attend, device, dtype)
    return attend


def _check(name: str, majors: range, device: torch.device, dtype: torch.dtype) -> None:
    if device.type != "cuda" or not torch.cuda.is_available():
        raise BackendUnavailable(name, f"needs a CUDA device, not {device}")
    if dtype not in (torch.float16, torch.bfloat16):
        raise BackendUnavailable(name, f"takes float16 and bfloat16, not {dtype}")
    major, minor = torch.cuda.get_device_capability(device)
    if major not in majors:
        needed = f"{majors[0]}.x" if len(majors) == 1 else f"{majors[0]}.0 or later"
        raise BackendUnavailable(name, f"needs compute capability {needed}; {device} has {major}.{minor}")


def _try(name: str, attend: Attend, device: torch.device, dtype: torch.dtype) -> None:
    """Attention of a few tokens of the released head size: what imports may still lack kernels for this GPU.

    The mean of equal values is that value, and it is one that e4m3 holds exactly.
    """
    q, k = (torch.ones(2, tokens, 128, device=device, dtype=dtype) for tokens in (16, 32))
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # torch tells each reason as a warning before it raises
            out = attend(q, k, k)
    except (RuntimeError, TypeError) as error:  # TypeError: a release with other arguments
        raise BackendUnavailable(name, f"does not run on {device}: {error}") from error
    if out.shape != q.shape or not torch.allclose(out, q, atol=1e-2):
        raise BackendUnavailable(name, f"gives a wrong result on {device}")
