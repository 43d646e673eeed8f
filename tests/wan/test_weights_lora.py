import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.support.checkpoints import DIT, blank, state
from wan.weights.errors import (
    BadDtype,
    BadLora,
    NonFinite,
    ShapeMismatch,
    UnexpectedTensors,
    UnreadableFile,
    WeightsError,
)
from wan.weights.files import open_checkpoint
from wan.weights.load import examine

pytestmark = pytest.mark.fast

LAYERS = {"blocks.0.self_attn.q": (16, 16), "blocks.1.ffn.0": (24, 16)}
RANK = 4


def adapter(prefix: str = "base_model.model.") -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(7)
    pairs: dict[str, Tensor] = {}
    for layer, (outputs, inputs) in LAYERS.items():
        pairs[f"{prefix}{layer}.lora_A.weight"] = torch.randn(RANK, inputs, generator=generator)
        pairs[f"{prefix}{layer}.lora_B.weight"] = torch.randn(outputs, RANK, generator=generator)
    return pairs


@pytest.fixture
def base(tmp_path: Path) -> dict[str, Tensor]:
    values = state(blank(DIT))
    (tmp_path / "base").mkdir()
    save_file(values, tmp_path / "base/x.safetensors")
    return values


def merged(folder: Path, lora: Path, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    module = blank(DIT)
    examine(module, open_checkpoint(folder / "base"), open_checkpoint(lora)).fill("cpu", dtype)
    return module.state_dict()


def written(folder: Path, values: dict[str, Tensor]) -> Path:
    save_file(values, folder / "lora.safetensors")
    return folder / "lora.safetensors"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_product_is_added_in_the_type_of_the_weights(tmp_path: Path, base: dict[str, Tensor], dtype: torch.dtype):
    pairs = adapter()
    found = merged(tmp_path, written(tmp_path, pairs), dtype)
    for layer in LAYERS:
        a, b = (pairs[f"base_model.model.{layer}.lora_{side}.weight"].to(dtype) for side in "AB")
        assert torch.equal(found[f"{layer}.weight"], base[f"{layer}.weight"].to(dtype) + b @ a)
    untouched = base.keys() - {f"{layer}.weight" for layer in LAYERS}
    assert all(torch.equal(found[name], base[name].to(dtype)) for name in untouched)


def test_the_section_of_a_pickle_and_other_prefixes(tmp_path: Path, base: dict[str, Tensor]):
    expected = merged(tmp_path, written(tmp_path, adapter()))
    for prefix in ("", "model.", "base_model.model.model."):
        torch.save({"generator_lora": adapter(prefix), "critic_lora": {}}, tmp_path / "x.pt")
        found = merged(tmp_path, tmp_path / "x.pt")
        assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_alpha_beside_the_file(tmp_path: Path, base: dict[str, Tensor]):
    path, layer = written(tmp_path, adapter()), "blocks.1.ffn.0"
    once = merged(tmp_path, path)[f"{layer}.weight"] - base[f"{layer}.weight"]
    (tmp_path / "adapter_config.json").write_text(json.dumps({"lora_alpha": 2 * RANK, "r": RANK}))
    twice = merged(tmp_path, path)[f"{layer}.weight"] - base[f"{layer}.weight"]
    torch.testing.assert_close(twice, 2 * once)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ("{", UnreadableFile),
        ('{"lora_alpha": "8"}', BadLora),
        ("{}", BadLora),
        ('{"lora_alpha": 8, "use_rslora": true}', BadLora),
    ],
)
def test_settings_that_do_not_say_alpha(
    tmp_path: Path, base: dict[str, Tensor], settings: str, error: type[WeightsError]
):
    (tmp_path / "adapter_config.json").write_text(settings)
    with pytest.raises(error, match=r"adapter_config\.json"):
        merged(tmp_path, written(tmp_path, adapter()))


A = "base_model.model.blocks.1.ffn.0.lora_A.weight"
B = "base_model.model.blocks.1.ffn.0.lora_B.weight"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({A: torch.ones(RANK, 15)}, ShapeMismatch, rf"{A} is \[4, 15\], expected \[4, 16\]"),
        ({B: torch.ones(25, RANK)}, ShapeMismatch, rf"{B} is \[25, 4\], expected \[24, 4\]"),
        ({B: torch.ones(24, 3)}, ShapeMismatch, rf"{B} is \[24, 3\], expected \[24, 4\]"),
        ({A: torch.ones(16)}, BadLora, r"is \[16\], expected a matrix"),
        ({A: torch.full((RANK, 16), float("nan"))}, NonFinite, "64 NaN"),
        ({A: torch.ones(RANK, 16, dtype=torch.int8)}, BadDtype, "is int8"),
        ({"base_model.model.norm.lora_magnitude_vector": torch.ones(1)}, UnexpectedTensors, "lora_magnitude_vector"),
        ({"blocks.9.ffn.0.lora_A.weight": torch.ones(1, 1)}, BadLora, r"blocks\.9\.ffn\.0 has no lora_B"),
        (
            {f"blocks.0.norm3.lora_{side}.weight": torch.ones(1, 1) for side in "AB"},
            BadLora,
            r"blocks\.0\.norm3, which is not a linear layer",
        ),
        (
            {f"blocks.9.ffn.0.lora_{side}.weight": torch.ones(1, 1) for side in "AB"},
            BadLora,
            r"blocks\.9\.ffn\.0, which is not a linear layer",
        ),
    ],
)
def test_a_lora_that_does_not_fit(
    tmp_path: Path, base: dict[str, Tensor], change: dict[str, Tensor], error: type[WeightsError], message: str
):
    path = written(tmp_path, adapter() | change)
    with pytest.raises(error, match=rf"lora\.safetensors: .*{message}"):
        merged(tmp_path, path)


def test_a_network_is_no_lora(tmp_path: Path, base: dict[str, Tensor]):
    with pytest.raises(BadLora, match="a transformer, expected a LoRA"):
        merged(tmp_path, tmp_path / "base")
