from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

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
from wan.weights.errors import UnknownLayout, UnsupportedLayout
from wan.weights.files import open_checkpoint
from wan.weights.layouts import Part, identify

pytestmark = pytest.mark.fast

DIT_STATE, VAE_STATE = state(blank(DIT)), state(blank(LIGHT_VAE))
TEXT_STATE, TINY_STATE = state(blank(TEXT)), state(blank(TINY))


def prefixed(values: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in values.items()}


LAYOUTS: dict[str, tuple[Callable[[], object], Part, str]] = {
    "dit.safetensors": (lambda: DIT_STATE, Part.DIT, "Wan"),
    "dit.pt": (lambda: DIT_STATE, Part.DIT, "Wan"),
    "model_bf16.pt": (
        lambda: {"generator": prefixed(DIT_STATE, "model."), "dtype": "bf16"},
        Part.DIT,
        "LongLive release (Wan names)",
    ),
    "unprefixed.pt": (lambda: {"generator": DIT_STATE}, Part.DIT, "LongLive release (Wan names)"),
    "ema.pt": (
        lambda: {"generator_ema": prefixed(DIT_STATE, "model._fsdp_wrapped_module.")},
        Part.DIT,
        "LongLive release (Wan names)",
    ),
    "wrapped.pt": (lambda: {"model": prefixed(DIT_STATE, "model.")}, Part.DIT, "LongLive release (Wan names)"),
    "bare.safetensors": (lambda: prefixed(DIT_STATE, "model."), Part.DIT, "LongLive release (Wan names)"),
    "diffusers.safetensors": (lambda: renamed(DIT_STATE, diffusers_dit(DIT.layers)), Part.DIT, "diffusers"),
    "vae.pth": (lambda: VAE_STATE, Part.VAE, "Wan2.2"),
    "vae.safetensors": (lambda: renamed(VAE_STATE, diffusers_vae()), Part.VAE, "diffusers"),
    "tae.pth": (lambda: {**TINY_STATE, "encoder.0.weight": torch.ones(1)}, Part.TINY_VAE, "TAEW2.2"),
    "tae.safetensors": (lambda: renamed(TINY_STATE, diffusers_tiny()), Part.TINY_VAE, "diffusers"),
    "text.pth": (lambda: TEXT_STATE, Part.TEXT, "Wan"),
    "text.safetensors": (lambda: renamed(TEXT_STATE, transformers_text(TEXT.layers)), Part.TEXT, "transformers"),
}
OURS = {Part.DIT: DIT_STATE, Part.VAE: VAE_STATE, Part.TINY_VAE: TINY_STATE, Part.TEXT: TEXT_STATE}


def saved(path: Path, content: object) -> Path:
    if path.suffix == ".safetensors":
        save_file(content, path)
    else:
        torch.save(content, path)
    return path


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_is_told_and_gives_the_same_tensors(tmp_path: Path, name: str):
    make, part, layout = LAYOUTS[name]
    named = identify(open_checkpoint(saved(tmp_path / name, make())))
    assert (named.layout.part, named.layout.name) == (part, layout)
    assert named.theirs.keys() == OURS[part].keys()
    assert all(torch.equal(named.tensor(ours), value) for ours, value in OURS[part].items())


def test_one_embedding_under_two_names(tmp_path: Path):
    content = renamed(TEXT_STATE, transformers_text(TEXT.layers))
    both = {**content, "encoder.embed_tokens.weight": content["shared.weight"]}
    other = {**both}
    del other["shared.weight"]
    for values in (both, other):
        named = identify(open_checkpoint(saved(tmp_path / "x.pt", values)))
        assert named.theirs.keys() == TEXT_STATE.keys()
        assert torch.equal(named.tensor("token_embedding.weight"), content["shared.weight"])


def test_nvfp4_is_refused_with_its_reason(tmp_path: Path):
    codes = {**DIT_STATE, "blocks.0.ffn.0.quantized_weight_values": torch.zeros(2, 2, dtype=torch.uint8)}
    path = saved(tmp_path / "model_4o6.pt", {"generator": prefixed(codes, "model.")})
    with pytest.raises(UnsupportedLayout, match=r"model_4o6\.pt: NVFP4 weights .* only Blackwell"):
        identify(open_checkpoint(path))


def test_an_unknown_network_shows_some_of_its_names(tmp_path: Path):
    path = saved(tmp_path / "x.safetensors", {"encoder.conv1.weight": torch.ones(1), "decoder.x": torch.ones(1)})
    with pytest.raises(UnknownLayout, match=r"x\.safetensors: .* 2 tensors: .*encoder\.conv1\.weight"):
        identify(open_checkpoint(path))


def test_the_vae_of_wan21_is_not_taken_for_that_of_wan22(tmp_path: Path):
    flat = {name.replace(".upsamples.0.upsamples.", ".upsamples."): value for name, value in VAE_STATE.items()}
    with pytest.raises(UnknownLayout):
        identify(open_checkpoint(saved(tmp_path / "x.pt", flat)))


def test_two_names_for_one_tensor_are_refused(tmp_path: Path):
    content = renamed(DIT_STATE, diffusers_dit(DIT.layers))
    path = saved(tmp_path / "x.pt", {**content, "head.head.weight": content["proj_out.weight"]})
    with pytest.raises(UnknownLayout, match=r"both .* are head\.head\.weight"):
        identify(open_checkpoint(path))
