from math import prod

import pytest
import torch

from wan.configs import DiTConfig, UMT5Config, VAEConfig
from wan.dit import DiT
from wan.rope import Rope, rotate, sections
from wan.umt5 import UMT5
from wan.vae22 import VAE

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("net", "config", "tensors", "parameters"),
    [
        (DiT, DiTConfig(), 825, 4_999_787_712),
        (UMT5, UMT5Config(), 242, 5_680_910_336),
        (VAE, VAEConfig(mean=(0.0,) * 48, std=(1.0,) * 48), 196, 704_688_668),
    ],
)
def test_full_size_has_the_released_tensors(net: type, config: object, tensors: int, parameters: int) -> None:
    with torch.device("meta"):
        state = net(config).state_dict()
    assert len(state) == tensors
    assert sum(prod(t.shape) for t in state.values()) == parameters


def test_head_dim_is_split_time_first() -> None:
    assert sections(128) == (44, 42, 42)
    assert sections(32) == (12, 10, 10)


def test_rotary_products_depend_on_the_distance_only() -> None:
    rope = Rope(32, 2, 3)
    q, k = torch.randn(2, 1, 1, 32)
    far = 5000  # well past the 1024 positions of a looked-up table

    def product(start: int) -> torch.Tensor:
        return (rotate(q, rope.at(start + 8, 1)[:, :1]) * rotate(k, rope.at(start, 1)[:, :1])).sum()

    assert product(0).item() == pytest.approx(product(far).item(), abs=1e-4)


def test_rotation_keeps_the_type_and_the_length() -> None:
    x = torch.randn(12, 2, 32, dtype=torch.bfloat16)
    turned = rotate(x, Rope(32, 2, 3).at(3, 2))
    assert turned.dtype == x.dtype
    assert torch.allclose(turned.float().norm(dim=-1), x.float().norm(dim=-1), rtol=0.02)
