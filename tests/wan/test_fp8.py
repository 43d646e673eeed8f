import pytest
import torch
from torch import Tensor, nn

from wan.configs import DiTConfig
from wan.dit import DiT
from wan.errors import Fp8Unavailable
from wan.fp8 import Fp8Linear, quantise, quantise_rows, require

pytestmark = pytest.mark.fast

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BOUND = 4e-2  # relative L2 of one linear, from rounding both factors to three bits of mantissa


def a_linear(inputs: int = 128, outputs: int = 96, bias: bool = True) -> nn.Linear:
    torch.manual_seed(7)
    return nn.Linear(inputs, outputs, bias).to(DEVICE).requires_grad_(False)


def error(out: Tensor, expected: Tensor) -> float:
    return ((out.float() - expected.float()).norm() / expected.float().norm()).item()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_stays_within_the_bound(dtype: torch.dtype, bias: bool) -> None:
    linear = a_linear(bias=bias)
    x = torch.randn(50, 128, device=DEVICE)
    out = Fp8Linear(linear)(x.to(dtype))
    assert (out.shape, out.dtype) == ((50, 96), dtype)
    assert 1e-3 < error(out, linear(x)) < BOUND


def test_rows_are_quantised_apart() -> None:
    """A row of outliers, a faint row and a row of zeros: none changes what another gives."""
    linear = a_linear(bias=False)
    fp8 = Fp8Linear(linear)
    x = torch.randn(32, 128, device=DEVICE)
    spoilt = x.clone()
    spoilt[3] *= 1e5
    spoilt[4] *= 1e-5
    spoilt[5] = 0
    out, rest = fp8(spoilt), [row for row in range(32) if row not in (3, 4, 5)]
    assert torch.equal(out[rest], fp8(x)[rest])
    assert error(out[3], linear(spoilt[3])) < BOUND
    assert error(out[4], linear(spoilt[4])) < BOUND
    assert torch.equal(out[5], torch.zeros_like(out[5]))


def test_outputs_are_quantised_apart() -> None:
    linear = a_linear(bias=False)
    linear.weight[7] *= 1e4
    x = torch.randn(32, 128, device=DEVICE)
    out, expected = Fp8Linear(linear)(x), linear(x)
    assert error(out[:, :7], expected[:, :7]) < BOUND


def test_quantised_rows_use_the_whole_range() -> None:
    values, scale = quantise_rows(torch.tensor([[0.5, -2.0], [0.0, 0.0]]))
    assert values.float().tolist() == [[112.0, -448.0], [0.0, 0.0]]
    assert torch.equal(values.float() * scale, torch.tensor([[0.5, -2.0], [0.0, 0.0]]))


def a_transformer() -> DiT:
    config = DiTConfig(dim=64, ffn_dim=256, heads=2, layers=3, text_dim=32, text_len=8, freq_dim=32)
    return DiT(config).to(DEVICE, torch.bfloat16).requires_grad_(False)


def test_all_linears_of_the_blocks_are_replaced_and_no_others() -> None:
    dit = a_transformer()
    before = {name for name, part in dit.named_modules() if isinstance(part, nn.Linear)}
    assert quantise(dit) == 30
    kept = {name for name, part in dit.named_modules() if isinstance(part, nn.Linear)}
    assert kept == {
        *("text_embedding.0", "text_embedding.2", "time_embedding.0", "time_embedding.2"),
        *("time_projection.1", "head.head"),
    }
    replaced = {name for name, part in dit.named_modules() if isinstance(part, Fp8Linear)}
    assert replaced == before - kept
    assert {sum(isinstance(part, Fp8Linear) for part in block.modules()) for block in dit.blocks} == {10}


def test_a_weight_takes_a_byte() -> None:
    dit = a_transformer()
    weights, before = matrices(dit), sum(tensor.nbytes for tensor in dit.state_dict().values())
    quantise(dit)
    scales = sum(part.scale.nbytes for part in dit.modules() if isinstance(part, Fp8Linear))
    assert before - sum(tensor.nbytes for tensor in dit.state_dict().values()) == weights - scales


def matrices(dit: DiT) -> int:
    """Weights in the linears of the blocks."""
    return sum(part.weight.numel() for part in dit.blocks.modules() if isinstance(part, nn.Linear))


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 16, not 24 -> 32"):
        Fp8Linear(nn.Linear(24, 32))


def test_a_device_without_fp8_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))  # an A100
    with pytest.raises(Fp8Unavailable, match=r"fp8: needs compute capability 8\.9 or later; cuda:0 has 8\.0"):
        require(torch.device("cuda:0"))
    with pytest.raises(Fp8Unavailable, match="needs a CUDA device, not mps"):
        require(torch.device("mps"))
