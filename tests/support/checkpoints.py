"""Small checkpoints of every network, and the names that other layouts give to their tensors.

The tables are written out from the structure of each layout: pairs of their name and ours.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from math import prod
from pathlib import Path

import torch
from torch import Tensor, nn

from wan.configs import DiTConfig, TinyVAEConfig, UMT5Config, VAEConfig
from wan.dit import DiT
from wan.taew22 import TinyVAE
from wan.umt5 import UMT5
from wan.vae22 import VAE
from wan.weights.moments import LATENT_MEAN, LATENT_STD

DIT = DiTConfig(dim=16, ffn_dim=24, heads=2, layers=2, text_dim=12, freq_dim=8, channels=4)
LIGHT_VAE = VAEConfig(mean=LATENT_MEAN, std=LATENT_STD, encoder_dim=2, decoder_dim=4)
TEXT = UMT5Config(vocab=32, dim=16, attn_dim=8, ffn_dim=24, heads=2, layers=2, buckets=8)
TINY = TinyVAEConfig(widths=(8, 4, 4, 2))
FULL_VAE = VAEConfig(mean=LATENT_MEAN, std=LATENT_STD)

Network = DiT | VAE | UMT5 | TinyVAE


def blank(config: DiTConfig | VAEConfig | UMT5Config | TinyVAEConfig) -> Network:
    """The network on the meta device."""
    with torch.device("meta"):
        match config:
            case DiTConfig():
                return DiT(config)
            case VAEConfig():
                return VAE(config)
            case UMT5Config():
                return UMT5(config)
            case TinyVAEConfig():
                return TinyVAE(config)


def state(network: nn.Module, seed: int = 0, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Random values for all tensors of a network."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(weight.shape, generator=generator).to(dtype) for name, weight in network.state_dict().items()
    }


def renamed(values: Mapping[str, Tensor], pairs: Mapping[str, str]) -> dict[str, Tensor]:
    """Our tensors under their names."""
    return {theirs: values[ours] for theirs, ours in pairs.items()}


def hollow(path: Path, shapes: Mapping[str, Iterable[int]], dtype: str = "BF16", size: int = 2) -> Path:
    """A safetensors file of any size that occupies no disk: a header, and a hole where the tensors would be."""
    header, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + prod(shape) * size
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        file.truncate(8 + len(encoded) + end)
    return path


def _both(theirs: str, ours: str) -> Iterator[tuple[str, str]]:
    yield from ((f"{theirs}.{kind}", f"{ours}.{kind}") for kind in ("weight", "bias"))


def diffusers_dit(layers: int) -> dict[str, str]:
    """`WanTransformer3DModel`."""
    return dict(_diffusers_dit(layers))


def _diffusers_dit(layers: int) -> Iterator[tuple[str, str]]:
    yield "scale_shift_table", "head.modulation"
    yield from _both("patch_embedding", "patch_embedding")
    yield from _both("proj_out", "head.head")
    yield from _both("condition_embedder.time_proj", "time_projection.1")
    for kind in ("time", "text"):
        for number, place in ((1, 0), (2, 2)):
            yield from _both(f"condition_embedder.{kind}_embedder.linear_{number}", f"{kind}_embedding.{place}")
    for n in range(layers):
        yield f"blocks.{n}.scale_shift_table", f"blocks.{n}.modulation"
        yield from _both(f"blocks.{n}.norm2", f"blocks.{n}.norm3")
        yield from _both(f"blocks.{n}.ffn.net.0.proj", f"blocks.{n}.ffn.0")
        yield from _both(f"blocks.{n}.ffn.net.2", f"blocks.{n}.ffn.2")
        for theirs, ours in (("attn1", "self_attn"), ("attn2", "cross_attn")):
            for source, target in (("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "o")):
                yield from _both(f"blocks.{n}.{theirs}.{source}", f"blocks.{n}.{ours}.{target}")
            for norm in ("norm_q.weight", "norm_k.weight"):
                yield f"blocks.{n}.{theirs}.{norm}", f"blocks.{n}.{ours}.{norm}"


def diffusers_vae() -> dict[str, str]:
    """`AutoencoderKLWan` of Wan2.2."""
    return dict(_diffusers_vae())


def _diffusers_vae() -> Iterator[tuple[str, str]]:
    yield from _both("quant_conv", "conv1")
    yield from _both("post_quant_conv", "conv2")
    for coder, stages, stage, sampler, blocks in (
        ("encoder", "down_blocks", "downsamples", "downsampler", 2),
        ("decoder", "up_blocks", "upsamples", "upsampler", 3),
    ):
        yield from _both(f"{coder}.conv_in", f"{coder}.conv1")
        yield from _both(f"{coder}.conv_out", f"{coder}.head.2")
        yield f"{coder}.norm_out.gamma", f"{coder}.head.0.gamma"
        yield from _res_block(f"{coder}.mid_block.resnets.0", f"{coder}.middle.0", False)
        yield from _res_block(f"{coder}.mid_block.resnets.1", f"{coder}.middle.2", False)
        attention, middle = f"{coder}.mid_block.attentions.0", f"{coder}.middle.1"
        yield f"{attention}.norm.gamma", f"{middle}.norm.gamma"
        yield from _both(f"{attention}.to_qkv", f"{middle}.to_qkv")
        yield from _both(f"{attention}.proj", f"{middle}.proj")
        widens = (1, 2) if coder == "encoder" else (2, 3)
        in_time = (1, 2) if coder == "encoder" else (0, 1)
        for i in range(4):
            theirs, ours = f"{coder}.{stages}.{i}", f"{coder}.{stage}.{i}.{stage}"
            for j in range(blocks):
                yield from _res_block(f"{theirs}.resnets.{j}", f"{ours}.{j}", j == 0 and i in widens)
            if i < 3:
                yield from _both(f"{theirs}.{sampler}.resample.1", f"{ours}.{blocks}.resample.1")
            if i in in_time:
                yield from _both(f"{theirs}.{sampler}.time_conv", f"{ours}.{blocks}.time_conv")


def _res_block(theirs: str, ours: str, widens: bool) -> Iterator[tuple[str, str]]:
    yield f"{theirs}.norm1.gamma", f"{ours}.residual.0.gamma"
    yield from _both(f"{theirs}.conv1", f"{ours}.residual.2")
    yield f"{theirs}.norm2.gamma", f"{ours}.residual.3.gamma"
    yield from _both(f"{theirs}.conv2", f"{ours}.residual.6")
    if widens:
        yield from _both(f"{theirs}.conv_shortcut", f"{ours}.shortcut")


def transformers_text(layers: int) -> dict[str, str]:
    """`UMT5EncoderModel`."""
    pairs = {"shared.weight": "token_embedding.weight", "encoder.final_layer_norm.weight": "norm.weight"}
    for n in range(layers):
        attention, ffn = f"encoder.block.{n}.layer.0", f"encoder.block.{n}.layer.1"
        pairs |= {f"{attention}.SelfAttention.{x}.weight": f"blocks.{n}.attn.{x}.weight" for x in "qkvo"}
        pairs |= {
            f"{attention}.SelfAttention.relative_attention_bias.weight": f"blocks.{n}.pos_embedding.embedding.weight",
            f"{attention}.layer_norm.weight": f"blocks.{n}.norm1.weight",
            f"{ffn}.layer_norm.weight": f"blocks.{n}.norm2.weight",
            f"{ffn}.DenseReluDense.wi_0.weight": f"blocks.{n}.ffn.gate.0.weight",
            f"{ffn}.DenseReluDense.wi_1.weight": f"blocks.{n}.ffn.fc1.weight",
            f"{ffn}.DenseReluDense.wo.weight": f"blocks.{n}.ffn.fc2.weight",
        }
    return pairs


def diffusers_tiny() -> dict[str, str]:
    """The decoder of `AutoencoderTinyVideo`."""
    return dict(_diffusers_tiny())


def _diffusers_tiny() -> Iterator[tuple[str, str]]:
    yield from _both("decoder.conv_in", "decoder.1")
    yield from _both("decoder.conv_out", "decoder.22")
    for i, (first, grow, out) in enumerate(((3, 7, 8), (9, 13, 14), (15, 19, 20))):
        for j in range(3):
            for conv, place in ((1, 0), (2, 2), (3, 4)):
                yield from _both(f"decoder.blocks.{i}.mem_blocks.{j}.conv{conv}", f"decoder.{first + j}.conv.{place}")
        yield f"decoder.blocks.{i}.time_grow.weight", f"decoder.{grow}.conv.weight"
        yield f"decoder.blocks.{i}.conv_out.weight", f"decoder.{out}.weight"
