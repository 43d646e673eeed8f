import logging
import sys
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from wan import backends
from wan.backends import PREFERENCE, available, choose, quantise_heads
from wan.errors import BackendUnavailable

pytestmark = pytest.mark.fast

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BOUNDS = {torch.float32: 1e-5, torch.bfloat16: 1e-2}
FP8_BOUND = 6e-2
BACKENDS = [(name, dtype) for dtype in BOUNDS for name in available(DEVICE, dtype)]


def window(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Queries of one chunk, keys and values of three, all views as the model makes them."""
    generator = torch.Generator().manual_seed(3)
    queries = torch.randn(48, 4, 128, generator=generator)
    keys, values = torch.randn(2, 4, 4 * 48, 128, generator=generator)
    q, k, v = (x.to(DEVICE, dtype) for x in (queries, keys, values))
    return q.transpose(0, 1), k[:, :144], v[:, :144]


def exact(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = q.double() @ k.double().transpose(1, 2) / q.shape[-1] ** 0.5
    return scores.softmax(dim=-1) @ v.double()


@pytest.mark.parametrize(("name", "dtype"), BACKENDS)
def test_every_backend_agrees_with_float64(name: str, dtype: torch.dtype) -> None:
    q, k, v = window(dtype)
    out = choose(DEVICE, dtype, name).attend(q, k, v)
    assert (out.shape, out.dtype) == (q.shape, dtype)
    error = (out - exact(q, k, v)).norm() / exact(q, k, v).norm()
    assert error <= (FP8_BOUND if "fp8" in name else BOUNDS[dtype])


def flash_attn_func(q: Tensor, k: Tensor, v: Tensor, **descale: Tensor) -> Tensor | tuple[Tensor, ...]:
    """The contract of flash-attention 3: [batch, tokens, heads, head_dim], scales float32 [batch, heads]."""
    assert all(x.dim() == 4 and x.stride(-1) == 1 for x in (q, k, v))
    if not descale:
        return F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (q, k, v))).transpose(1, 2)
    parts = []
    for name, x in zip("qkv", (q, k, v), strict=True):
        scale = descale[f"{name}_descale"]
        assert (x.dtype, scale.dtype, scale.shape) == (torch.float8_e4m3fn, torch.float32, (1, x.shape[2]))
        parts.append((x.float() * scale[:, None, :, None]).transpose(1, 2))
    return F.scaled_dot_product_attention(*parts).transpose(1, 2).bfloat16(), torch.empty(0)


def test_flash_attention_is_called_by_its_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flash_attn_interface", SimpleNamespace(flash_attn_func=flash_attn_func))
    q, k, v = window(torch.bfloat16)
    expected = exact(q, k, v)
    for attend, bound in (
        (backends._flash_attn("flash_attn_interface"), BOUNDS[torch.bfloat16]),
        (backends._fa3_fp8(), FP8_BOUND),
    ):
        out = attend(q, k, v)
        assert (out.shape, out.dtype) == (q.shape, q.dtype)
        assert (out - expected).norm() / expected.norm() <= bound


def test_fp8_is_measured_not_skipped() -> None:
    q, k, v = window(torch.float32)
    out = choose(DEVICE, torch.float32, "fp8-emulated").attend(q, k, v)
    assert (out - exact(q, k, v)).norm() / exact(q, k, v).norm() > 1e-2


def test_a_head_of_outliers_does_not_spoil_the_others_and_zeros_stay_zeros() -> None:
    x = torch.randn(3, 16, 32)
    x[1] *= 1e4
    x[2] = 0
    values, scale = quantise_heads(x)
    assert (values.dtype, scale.dtype, scale.shape) == (torch.float8_e4m3fn, torch.float32, (3,))
    back = values.float() * scale[:, None, None]
    assert (back - x)[0].norm() / x[0].norm() < 0.04
    assert torch.equal(back[2], x[2])


def test_the_first_of_the_preference_that_runs_is_chosen_and_logged_with_the_reasons(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        chosen = choose("cpu", torch.float32)
    assert chosen.name == "sdpa"
    [record] = caplog.records
    assert "cpu for torch.float32: sdpa" in record.getMessage()
    for better in PREFERENCE[: PREFERENCE.index("sdpa")]:
        assert f"{better}: needs a CUDA device" in record.getMessage()


@pytest.mark.parametrize("name", ["fa3", "fa2", "cudnn", "flash", "fa3-fp8"])
def test_a_wish_that_cannot_be_met_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(BackendUnavailable, match=rf"^{name}: needs a CUDA device, not cpu") as refused:
        choose("cpu", torch.bfloat16, name)
    assert refused.value.name == name


def test_an_unknown_backend_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BackendUnavailable, match="xformers: there is no such attention backend; there are fa3, fa2"):
        choose("cpu", torch.float32, "xformers")


@pytest.mark.skipif(DEVICE == "cpu", reason="needs a GPU")
def test_the_fused_backends_refuse_float32_on_a_gpu() -> None:
    with pytest.raises(BackendUnavailable, match="takes float16 and bfloat16"):
        choose(DEVICE, torch.float32, "flash")
