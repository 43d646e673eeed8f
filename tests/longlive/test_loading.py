"""From a folder of checkpoints to pictures, and what is refused on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor

import longlive
from longlive import devices, parts
from longlive.devices import DeviceError
from longlive.engine import Engine
from longlive.network import Network
from longlive.parts import constructed
from longlive.presets import FULL, Preset, find
from longlive.replica import LongLiveReplica
from longlive.tokenizer import UMT5Tokenizer
from tests.longlive.networks import FOX, chunk, small
from tests.support.checkpoints import state
from wan.configs import TinyVAEConfig
from wan.taew22 import TinyVAE
from wan.weights.errors import AmbiguousPart, MissingPart, NonFinite, ShapeMismatch

pytestmark = pytest.mark.slow

WORDS = ["<pad>", "</s>", "<unk>", "a", "fox", "in", "the", "snow"]
PRESET = small()
PARTS = constructed(PRESET, seed=5)


def write(folder: Path, **replaced: dict[str, Tensor]) -> Preset:
    """A release of the small network in a folder, and the preset that loads it."""
    states = {
        "dit": {f"model.{name}": value for name, value in PARTS.dit.state_dict().items()},
        "text": PARTS.text.state_dict(),
        "vae": PARTS.vae.state_dict(),
        **replaced,
    }
    torch.save({"generator": states["dit"]}, folder / "model_bf16.pt")
    torch.save(states["text"], folder / "text.pth")
    save_file({name: value.contiguous() for name, value in states["vae"].items()}, folder / "vae.safetensors")
    tokenizer = Tokenizer(models.WordLevel(dict(zip(WORDS, range(len(WORDS)), strict=True)), unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    return small(weights=folder)


def first_chunk(preset: Preset, made: parts.Parts) -> np.ndarray:
    return chunk(Engine(Network(preset, "cpu", made)), FOX, "open", 0)


def test_a_loaded_network_makes_the_pictures_of_the_one_that_was_saved(tmp_path: Path) -> None:
    preset = write(tmp_path)
    tokenizer = UMT5Tokenizer(tmp_path / "tokenizer.json", preset.text.vocab, preset.dit.text_len)
    saved = first_chunk(PRESET, replace(PARTS, tokenizer=tokenizer))
    assert np.array_equal(first_chunk(preset, parts.parts(preset, "cpu")), saved)


def test_the_replica_says_what_it_loaded(tmp_path: Path) -> None:
    replica = LongLiveReplica(write(tmp_path), "cpu")
    assert replica.facts == {"preset": "tiny", "weights": str(tmp_path), "attention": "sdpa", "dtype": "float32"}


def test_a_lora_is_merged(tmp_path: Path) -> None:
    preset, dim = write(tmp_path), PRESET.dit.dim
    save_file(
        {
            f"blocks.0.self_attn.v.lora_{side}.weight": torch.full((2, dim)[:: 1 if side == "A" else -1], 0.1)
            for side in "AB"
        },
        tmp_path / "lora.safetensors",
    )
    merged = parts.parts(preset, "cpu").dit.state_dict()["blocks.0.self_attn.v.weight"]
    plain = PARTS.dit.state_dict()["blocks.0.self_attn.v.weight"]
    assert torch.allclose(merged - plain, torch.full((dim, dim), 0.02), atol=1e-6)
    save_file({"blocks.0.ffn.0.lora_A.weight": torch.ones(2, dim)}, tmp_path / "more.safetensors")
    with pytest.raises(AmbiguousPart, match=r"lora\.safetensors.*more\.safetensors"):
        parts.parts(preset, "cpu")


def test_a_pruned_vae_is_loaded_at_its_own_width(tmp_path: Path) -> None:
    wide = replace(PRESET, vae=replace(PRESET.vae, decoder_dim=16, multipliers=(1, 2, 4, 4), decoder_blocks=3))
    half = replace(wide, vae=replace(wide.vae, decoder_dim=8))
    write(tmp_path, vae=constructed(half, seed=5).vae.state_dict())
    loaded = parts.parts(replace(wide, options=small(weights=tmp_path).options), "cpu")
    assert loaded.vae.config == half.vae
    assert first_chunk(half, loaded).shape == (29, 64, 64, 3)


def test_the_tiny_decoder_decodes_instead(tmp_path: Path) -> None:
    write(tmp_path)
    preset = small(weights=tmp_path, decoder="tiny")
    with pytest.raises(MissingPart, match="decoder=tiny"):
        parts.parts(preset, "cpu")
    save_file(state(TinyVAE(TinyVAEConfig())), tmp_path / "taew2_2.safetensors")
    loaded = parts.parts(preset, "cpu")
    assert isinstance(loaded.vae, TinyVAE)
    assert first_chunk(preset, loaded).shape == (29, 64, 64, 3)
    with pytest.raises(ValueError, match="cannot encode"):
        Network(preset, "cpu", loaded).encode_image(np.zeros((64, 64, 3), np.uint8))


def broken_vae() -> dict[str, Tensor]:
    values = {name: value.clone() for name, value in PARTS.vae.state_dict().items()}
    values["decoder.conv1.weight"][0, 0, 0, 0, :2] = torch.nan
    return values


def other_text() -> dict[str, Tensor]:
    return {**PARTS.text.state_dict(), "norm.weight": torch.ones(65)}


@pytest.mark.parametrize(
    ("replaced", "error", "words"),
    [
        ({"vae": broken_vae}, NonFinite, r"vae\.safetensors: decoder\.conv1\.weight has 2 NaN or infinite values"),
        ({"text": other_text}, ShapeMismatch, r"text\.pth: norm\.weight is \[65\], expected \[64\]"),
    ],
)
def test_all_parts_are_examined_before_any_is_filled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replaced: dict[str, Callable], error: type, words: str
) -> None:
    preset = write(tmp_path, **{part: make() for part, make in replaced.items()})
    filled = []
    monkeypatch.setattr("wan.weights.load.Ready.fill", lambda self, device, dtype: filled.append(self))
    with pytest.raises(error, match=words):
        parts.parts(preset, "cpu")
    assert not filled


def test_a_preset_without_weights_says_so() -> None:
    with pytest.raises(ValueError, match="preset 5b needs weights"):
        parts.parts(FULL, "cpu")


@pytest.mark.parametrize(
    ("device", "words"),
    [("tpu", "no device"), ("mps", "run on cpu and cuda"), ("cuda:99", r"there is no cuda:99: torch .* sees \d+ GPUs")],
)
def test_a_device_that_is_not_there(device: str, words: str) -> None:
    with pytest.raises(DeviceError, match=words):
        parts.parts(find("tiny"), device)


def test_too_little_memory_is_told_with_both_amounts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "memory", lambda device: (25 * 10**9, "this machine"))
    with pytest.raises(DeviceError, match=r"this machine has 25\.0 GB to give and preset 5b needs 44\.\d GB there"):
        devices.check(FULL, "cpu")
    devices.check(find("tiny"), "cpu")


def test_a_decoder_of_its_own_device_is_counted_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "memory", lambda device: (int(40e9) if device.type == "cpu" else 0, "it"))
    devices.check(find("5b", vae_device="cpu:0"), "cpu")
    with pytest.raises(DeviceError):
        devices.check(find("5b"), "cpu")


def test_what_cannot_load_is_told_without_loading(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="preset 5b needs weights"):
        longlive.model("5b").check("cpu")
    with pytest.raises(DeviceError, match="cuda:99"):
        longlive.model("tiny").check("cuda:99")
    with pytest.raises(MissingPart, match="no VAE"):
        longlive.model("tiny", weights=tmp_path).check("cpu")
    preset = write(tmp_path, vae=broken_vae())
    parts.check(preset, "cpu")  # values are looked at when they are loaded
