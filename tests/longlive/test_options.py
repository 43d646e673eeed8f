"""What each switch of speed costs: the relative L2 of a story's latents against float32 on the same weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from longlive.engine import Engine, Kind
from longlive.network import Network
from longlive.options import Options
from longlive.parts import random
from longlive.presets import find
from tests.longlive.networks import CITY, FOX, small

pytestmark = pytest.mark.slow

STORY: list[tuple[str, Kind]] = [(FOX, "open"), (FOX, "continue"), (CITY, "shot"), (CITY, "continue")]


def latents(device: str = "cpu", **options: Any) -> Tensor:
    """Of a network with weights of unit gain, so that nothing is small by construction."""
    preset = small(**options)
    torch.manual_seed(0)
    engine = Engine(Network(preset, device, random(preset, "cpu", torch.float32)))
    made = []
    for number, (prompt, kind) in enumerate(STORY):
        engine.prepare(prompt, kind, 1, number)
        made.append(engine.generate().float().cpu())
        engine.commit()
    return torch.cat(made)


@pytest.fixture(scope="module")
def reference() -> Tensor:
    return latents()


@pytest.mark.parametrize(
    ("options", "least", "most"),
    [
        ({"attention": "math"}, 0, 1e-5),
        ({"dtype": "bfloat16"}, 1e-3, 1e-2),
        ({"linears": "fp8"}, 1e-2, 4e-2),
        ({"attention": "fp8-emulated"}, 5e-4, 1e-2),
        ({"dtype": "bfloat16", "linears": "fp8", "attention": "fp8-emulated"}, 1e-2, 5e-2),
    ],
    ids=str,
)
def test_a_switch_keeps_its_bound(reference: Tensor, options: dict[str, Any], least: float, most: float) -> None:
    """And is really on: below `least` nothing would have been rounded."""
    difference = float((latents(**options) - reference).norm() / reference.norm())
    assert least <= difference < most


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(
    ("options", "bound"),
    [
        ({"dtype": "float32"}, 1e-3),
        ({}, 2e-2),
        ({"kernels": "triton"}, 2e-2),
        ({"compile": True}, 2e-2),
        ({"linears": "fp8"}, 5e-2),
    ],
    ids=str,
)
def test_a_gpu_keeps_the_bounds_too(reference: Tensor, options: dict[str, Any], bound: float) -> None:
    difference = latents("cuda:0", **{"dtype": "bfloat16", **options}) - reference
    assert float(difference.norm() / reference.norm()) < bound


@pytest.mark.parametrize(
    "options",
    [{"steps": 5}, {"dtype": "int8"}, {"linears": "int4"}, {"stream": "perhaps"}, {"prompts": 0}, {"colour": "red"}],
    ids=str,
)
def test_an_option_that_is_none_is_named(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        find("tiny", **options)


def test_every_option_says_what_it_does() -> None:
    assert all(field.description for field in Options.model_fields.values())
