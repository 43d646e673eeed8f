import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.support.checkpoints import (
    DIT,
    LIGHT_VAE,
    TEXT,
    TINY,
    blank,
    diffusers_dit,
    diffusers_tiny,
    diffusers_vae,
    renamed,
    state,
    transformers_text,
)
from wan.weights.errors import (
    BadDtype,
    MissingTensors,
    NonFinite,
    ShapeMismatch,
    UnexpectedTensors,
    UnsupportedLayout,
    WeightsError,
)
from wan.weights.files import Checkpoint, open_checkpoint
from wan.weights.load import examine
from wan.weights.scan import count_non_finite

pytestmark = pytest.mark.fast

WEIGHT = "blocks.1.ffn.0.weight"
CASES = {
    "dit": (DIT, diffusers_dit(DIT.layers)),
    "vae": (LIGHT_VAE, diffusers_vae()),
    "text": (TEXT, transformers_text(TEXT.layers)),
    "tiny": (TINY, diffusers_tiny()),
}


def checkpoint(folder: Path, values: dict[str, Tensor], name: str = "x.safetensors") -> Checkpoint:
    save_file(values, folder / name)
    return open_checkpoint(folder / name)


def fill(module: nn.Module, source: Checkpoint, dtype: torch.dtype = torch.float32) -> None:
    examine(module, source).fill("cpu", dtype)


@pytest.mark.parametrize("case", CASES)
def test_every_network_from_both_layouts_bit_for_bit(tmp_path: Path, case: str):
    config, pairs = CASES[case]
    values = state(blank(config))
    for name, content in (("wan", values), ("other", renamed(values, pairs))):
        module = blank(config)
        fill(module, checkpoint(tmp_path, content, f"{name}.safetensors"))
        found = module.state_dict()
        assert found.keys() == values.keys()
        assert all(torch.equal(found[key], value) for key, value in values.items())
        assert not any(weight.requires_grad for weight in module.parameters())
        assert not module.training


def test_values_are_copied_out_of_the_file_and_converted(tmp_path: Path):
    values = state(blank(DIT))
    source, module = checkpoint(tmp_path, values), blank(DIT)
    fill(module, source, torch.bfloat16)
    assert torch.equal(module.get_parameter(WEIGHT), values[WEIGHT].bfloat16())
    fill(module, source)
    module.get_parameter(WEIGHT).zero_()
    assert torch.equal(source.tensor(WEIGHT), values[WEIGHT])


def test_a_pickle_is_copied_too(tmp_path: Path):
    values = state(blank(DIT))
    torch.save({"generator": {f"model.{name}": value for name, value in values.items()}}, tmp_path / "x.pt")
    module = blank(DIT)
    fill(module, open_checkpoint(tmp_path / "x.pt"))
    module.get_parameter(WEIGHT).zero_()
    assert torch.equal(open_checkpoint(tmp_path / "x.pt").tensor(f"model.{WEIGHT}"), values[WEIGHT])


def test_a_vae_without_an_encoder_only_decodes(tmp_path: Path):
    values = {name: value for name, value in state(blank(LIGHT_VAE)).items() if name.startswith(("decoder.", "conv2."))}
    heads = {"dynamic_feature_projection_heads.0.weight": torch.ones(2)}
    module = blank(LIGHT_VAE)
    fill(module, checkpoint(tmp_path, values | heads))
    assert module.state_dict().keys() == values.keys()


def refused(tmp_path: Path, values: dict[str, Tensor]) -> WeightsError:
    """The error of loading; the module must be left as it was."""
    module = blank(DIT)
    before = dict(module.named_parameters())
    with pytest.raises(WeightsError) as caught:
        fill(module, checkpoint(tmp_path, values))
    assert all(weight is before[name] for name, weight in module.named_parameters())
    assert str(tmp_path / "x.safetensors") in str(caught.value)
    return caught.value


def test_missing_tensors(tmp_path: Path):
    values = state(blank(DIT))
    for name in (WEIGHT, "head.modulation"):
        del values[name]
    error = refused(tmp_path, values)
    assert isinstance(error, MissingTensors)
    assert "2 of the network's 69 tensors are missing: blocks.1.ffn.0.weight, head.modulation" in str(error)


def test_many_missing_tensors_are_counted(tmp_path: Path):
    values = {name: value for name, value in state(blank(DIT)).items() if not name.startswith("blocks.1.")}
    assert "27 of the network's 69 tensors are missing: " in (message := str(refused(tmp_path, values)))
    assert message.endswith(" and 24 more")


def test_unexpected_tensors(tmp_path: Path):
    error = refused(tmp_path, {**state(blank(DIT)), "blocks.0.extra": torch.ones(1)})
    assert isinstance(error, UnexpectedTensors)
    assert "1 of the file's 70 tensors have no place in the network: blocks.0.extra" in str(error)


def test_a_wrong_shape_names_key_and_both_shapes(tmp_path: Path):
    error = refused(tmp_path, {**state(blank(DIT)), WEIGHT: torch.ones(24, 17)})
    assert isinstance(error, ShapeMismatch)
    assert f"{WEIGHT} is [24, 17], expected [24, 16]" in str(error)


def test_the_key_is_named_as_the_file_names_it(tmp_path: Path):
    values = renamed(state(blank(DIT)), diffusers_dit(DIT.layers))
    error = refused(tmp_path, {**values, "blocks.1.ffn.net.0.proj.weight": torch.ones(1)})
    assert "blocks.1.ffn.net.0.proj.weight is [1], expected [24, 16]" in str(error)


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.float8_e4m3fn])
def test_a_type_that_weights_cannot_have(tmp_path: Path, dtype: torch.dtype):
    error = refused(tmp_path, {**state(blank(DIT)), WEIGHT: torch.zeros(24, 16).to(dtype)})
    assert isinstance(error, BadDtype)
    assert f"{WEIGHT} is {str(dtype).removeprefix('torch.')}, expected float32" in str(error)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_values_that_are_not_finite(tmp_path: Path, dtype: torch.dtype):
    values = {name: value.to(dtype) for name, value in state(blank(DIT)).items()}
    values[WEIGHT][3, 4:6] = float("nan")
    values[WEIGHT][7, 0] = float("-inf")
    error = refused(tmp_path, values)
    assert isinstance(error, NonFinite)
    assert f"{WEIGHT} has 3 NaN or infinite values among 384" in str(error)


def test_counting_goes_piece_by_piece(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("wan.weights.scan.PIECE", 4)
    values = torch.ones(3, 7)
    values[0, 0] = values[2, 6] = float("inf")
    assert count_non_finite(values) == 2
    assert count_non_finite(torch.ones(0)) == 0


def test_another_network(tmp_path: Path):
    error = refused(tmp_path, state(blank(TEXT)))
    assert isinstance(error, MissingTensors)


def test_a_quantised_file(tmp_path: Path):
    assert isinstance(
        refused(tmp_path, {**state(blank(DIT)), "x.quantized_weight_values": torch.ones(1)}), UnsupportedLayout
    )


def test_errors_cross_a_process_boundary(tmp_path: Path):
    for error in (
        MissingTensors(tmp_path, ("a",), 2),
        ShapeMismatch(tmp_path, "a", (1,), (2,)),
        NonFinite(tmp_path, "a", 1, 2),
        BadDtype(tmp_path, "a", "int8"),
        UnsupportedLayout(tmp_path, "no"),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again)) == (type(error), str(error))
