from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from typer.testing import CliRunner, Result

from longlive.presets import FULL
from longlive.weights import app, resolve, survey, weights_nbytes
from tests.support.checkpoints import (
    DIT,
    FULL_VAE,
    LIGHT_VAE,
    TEXT,
    TINY,
    blank,
    diffusers_dit,
    diffusers_vae,
    hollow,
    renamed,
    state,
    transformers_text,
)
from wan.configs import TinyVAEConfig
from wan.weights.errors import AmbiguousPart, MissingPart
from wan.weights.infer import dit_config
from wan.weights.layouts import Part

pytestmark = pytest.mark.fast

DIT_STATE, VAE_STATE, TEXT_STATE = state(blank(DIT)), state(blank(LIGHT_VAE)), state(blank(TEXT))
LORA = {f"blocks.0.ffn.0.lora_{side}.weight": torch.ones(shape) for side, shape in (("A", (2, 16)), ("B", (24, 2)))}


def put(path: Path, values: dict[str, Tensor]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        save_file(values, path)
    else:
        torch.save(values, path)
    return path


def released(folder: Path) -> Path:
    """As the original repositories lay it out."""
    torch.save({"generator": {f"model.{name}": value for name, value in DIT_STATE.items()}}, folder / "model_bf16.pt")
    put(folder / "Wan2.2_VAE.pth", VAE_STATE)
    put(folder / "models_t5_umt5-xxl-enc-bf16.pth", TEXT_STATE)
    put(folder / "loras/lora.pt", LORA)
    (folder / "google/umt5-xxl").mkdir(parents=True)
    (folder / "google/umt5-xxl/tokenizer.json").touch()
    return folder


def diffusers(folder: Path) -> Path:
    """As diffusers lays it out."""
    put(folder / "transformer/diffusion_pytorch_model.safetensors", renamed(DIT_STATE, diffusers_dit(DIT.layers)))
    put(folder / "vae/diffusion_pytorch_model.safetensors", renamed(VAE_STATE, diffusers_vae()))
    put(folder / "text_encoder/model.safetensors", renamed(TEXT_STATE, transformers_text(TEXT.layers)))
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer/tokenizer.json").touch()
    return folder


@pytest.mark.parametrize("lay", [released, diffusers])
def test_the_parts_are_found_by_content(tmp_path: Path, lay: Callable[[Path], Path]):
    found = resolve(lay(tmp_path))
    assert found.vae is not None
    assert found.tiny_vae is None
    assert dit_config(found.dit, head_dim=8) == DIT
    assert (found.text.count, found.vae.count) == (sum(v.numel() for v in TEXT_STATE.values()), sum_of(VAE_STATE))
    assert found.tokenizer.name == "tokenizer.json"
    assert [lora.path.name for lora in found.loras] == (["lora.pt"] if lay is released else [])


def sum_of(values: dict[str, Tensor]) -> int:
    return sum(value.numel() for value in values.values())


def test_two_transformers_are_both_named(tmp_path: Path):
    put(released(tmp_path) / "other/x.safetensors", DIT_STATE)
    with pytest.raises(AmbiguousPart, match=r"several of the part transformer: .*model_bf16\.pt, .*other/x\.safetens"):
        resolve(tmp_path)


def test_two_tokenizers_are_both_named(tmp_path: Path):
    (released(tmp_path) / "tokenizer.json").touch()
    with pytest.raises(AmbiguousPart, match="several tokenizers"):
        resolve(tmp_path)


@pytest.mark.parametrize(
    ("file", "part"),
    [
        ("model_bf16.pt", "transformer"),
        ("Wan2.2_VAE.pth", "VAE"),
        ("models_t5_umt5-xxl-enc-bf16.pth", "text encoder"),
        ("google/umt5-xxl/tokenizer.json", "tokenizer.json"),
    ],
)
def test_a_missing_part_is_named(tmp_path: Path, file: str, part: str):
    (released(tmp_path) / file).unlink()
    with pytest.raises(MissingPart, match=f"no {part} in it$"):
        resolve(tmp_path)


def test_a_truncated_part_is_told_from_a_missing_one(tmp_path: Path):
    path = released(tmp_path) / "model_bf16.pt"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(MissingPart, match=r"no transformer in it; not used: .*model_bf16\.pt: not a whole torch"):
        resolve(tmp_path)


def test_the_tiny_vae_alone_or_beside_the_full_one(tmp_path: Path):
    tiny = put(released(tmp_path) / "taew2_2.pth", state(blank(TINY)))
    found = resolve(tmp_path)
    assert found.tiny_vae is not None
    assert found.tiny_vae.path == tiny
    (tmp_path / "Wan2.2_VAE.pth").unlink()
    assert resolve(tmp_path).vae is None


def test_an_empty_folder(tmp_path: Path):
    with pytest.raises(MissingPart, match="no VAE in it"):
        resolve(tmp_path)


def test_loaded_weights_count_every_network_and_no_lora(tmp_path: Path):
    content = survey(released(tmp_path))
    assert len(content.named) == 4
    assert len(content.of(Part.LORA)) == 1
    assert weights_nbytes(content, torch.bfloat16) == 2 * (sum_of(DIT_STATE) + sum_of(VAE_STATE) + sum_of(TEXT_STATE))


def inspect(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["inspect", *map(str, arguments)])


def full_size(folder: Path) -> Path:
    """The released sizes, without their bytes."""
    for name, config in (("dit", FULL.dit), ("vae", FULL_VAE), ("text", FULL.text), ("tiny", TinyVAEConfig())):
        shapes = {key: tuple(weight.shape) for key, weight in blank(config).state_dict().items()}
        hollow(folder / f"{name}.safetensors", shapes)
    return folder


def test_inspect_at_full_size(tmp_path: Path):
    result = inspect(full_size(tmp_path), "--preset", "5b", "--gpu-memory", 140)
    assert result.exit_code == 0, result.output
    for text in (
        "transformer, Wan",
        "825 tensors, 4,999,787,712 parameters, bfloat16, 9.31 GiB in 1 file(s)",
        "dim 3072, ffn_dim 14336, heads 24, layers 30",
        "196 tensors, 704,688,668 parameters",
        "full width",
        "242 tensors, 5,680,910,336 parameters",
        "tiny VAE, TAEW2.2",
        "One stream of preset 5b takes",
        "usable of the GPU's 140.00 GiB are 133.00: it fits.",
    ):
        assert text in result.output
    assert result.output.count("the sizes of preset 5b") == 3


def test_inspect_tells_what_does_not_fit(tmp_path: Path):
    output = inspect(full_size(tmp_path), "--gpu-memory", 16).output
    assert (
        "The weights take 21.23 GiB as bfloat16; usable of the GPU's 16.00 GiB are 15.20: 6.03 GiB too much." in output
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_inspect_without_a_gpu(tmp_path: Path):
    assert "there is no GPU to fit into" in inspect(put(tmp_path / "x.pt", DIT_STATE)).output


def test_inspect_compares_with_a_preset(tmp_path: Path):
    result = inspect(put(tmp_path / "x.safetensors", DIT_STATE), "--preset", "tiny", "--gpu-memory", 1)
    assert "differs from preset tiny: dim must be 128, ffn_dim must be 256" in result.output
    assert inspect(tmp_path, "--preset", "none").exit_code == 2


def test_inspect_a_light_vae_a_lora_and_what_is_wrong(tmp_path: Path):
    folder = released(tmp_path)
    put(folder / "decoder.pt", {name: value for name, value in VAE_STATE.items() if name[0] != "e"})
    (folder / "broken.safetensors").write_bytes(b"")
    del (incomplete := {**DIT_STATE})["head.modulation"]
    put(folder / "incomplete.pt", incomplete)
    output = inspect(folder).output
    assert "light: 98% of the decoder's width pruned\n" in output
    assert "light: 98% of the decoder's width pruned, without an encoder\n" in output
    assert "1 layers adapted, ranks [2]" in output
    assert "LongLive release (Wan names), section generator" in output
    assert f"not usable: {folder}/broken.safetensors: not a whole" in output
    assert f"not usable: {folder}/incomplete.pt: 1 of the network's 69 tensors are missing: head.modulation" in output


def test_inspect_of_nothing_usable_fails(tmp_path: Path):
    for path in (tmp_path, tmp_path / "absent.pt"):
        result = inspect(path)
        assert result.exit_code == 1
        assert "no usable checkpoint" in result.output
