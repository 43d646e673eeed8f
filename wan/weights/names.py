"""From the names of other layouts to those of our modules, which are the names of the original Wan releases.

Each function is pure and takes one name: it returns ours, or None for a tensor that only training needs. A name it
does not know comes back as it is.
"""

from __future__ import annotations

import re

_Rules = tuple[tuple[re.Pattern[str], str], ...]


def _rules(*pairs: tuple[str, str]) -> _Rules:
    return tuple((re.compile(pattern), replacement) for pattern, replacement in pairs)


def _apply(rules: _Rules, name: str) -> str:
    """The first rule that matches at the start of the name replaces what it matched."""
    for pattern, replacement in rules:
        if match := pattern.match(name):
            return match.expand(replacement) + name[match.end() :]
    return name


_DIT = _rules(
    (r"condition_embedder\.time_embedder\.linear_1\.", "time_embedding.0."),
    (r"condition_embedder\.time_embedder\.linear_2\.", "time_embedding.2."),
    (r"condition_embedder\.time_proj\.", "time_projection.1."),
    (r"condition_embedder\.text_embedder\.linear_1\.", "text_embedding.0."),
    (r"condition_embedder\.text_embedder\.linear_2\.", "text_embedding.2."),
    (r"scale_shift_table$", "head.modulation"),
    (r"proj_out\.", "head.head."),
    (r"blocks\.(\d+)\.scale_shift_table$", r"blocks.\1.modulation"),
    (r"blocks\.(\d+)\.attn1\.to_([qkv])\.", r"blocks.\1.self_attn.\2."),
    (r"blocks\.(\d+)\.attn1\.to_out\.0\.", r"blocks.\1.self_attn.o."),
    (r"blocks\.(\d+)\.attn1\.norm_([qk])\.", r"blocks.\1.self_attn.norm_\2."),
    (r"blocks\.(\d+)\.attn2\.to_([qkv])\.", r"blocks.\1.cross_attn.\2."),
    (r"blocks\.(\d+)\.attn2\.to_out\.0\.", r"blocks.\1.cross_attn.o."),
    (r"blocks\.(\d+)\.attn2\.norm_([qk])\.", r"blocks.\1.cross_attn.norm_\2."),
    (r"blocks\.(\d+)\.norm2\.", r"blocks.\1.norm3."),
    (r"blocks\.(\d+)\.ffn\.net\.0\.proj\.", r"blocks.\1.ffn.0."),
    (r"blocks\.(\d+)\.ffn\.net\.2\.", r"blocks.\1.ffn.2."),
)


def dit_from_diffusers(name: str) -> str:
    """`WanTransformer3DModel`. It numbers the norms in the order of use, so its second is our third."""
    return _apply(_DIT, name)


_RES_BLOCK = {
    "norm1": "residual.0",
    "conv1": "residual.2",
    "norm2": "residual.3",
    "conv2": "residual.6",
    "conv_shortcut": "shortcut",
}
_RES_PART = re.compile(r"(.*\.resnets\.\d+)\.(norm1|conv1|norm2|conv2|conv_shortcut)\.")
_VAE = _rules(
    (r"quant_conv\.", "conv1."),
    (r"post_quant_conv\.", "conv2."),
    (r"(encoder|decoder)\.conv_in\.", r"\1.conv1."),
    (r"(encoder|decoder)\.norm_out\.", r"\1.head.0."),
    (r"(encoder|decoder)\.conv_out\.", r"\1.head.2."),
    (r"(encoder|decoder)\.mid_block\.resnets\.0\.", r"\1.middle.0."),
    (r"(encoder|decoder)\.mid_block\.attentions\.0\.", r"\1.middle.1."),
    (r"(encoder|decoder)\.mid_block\.resnets\.1\.", r"\1.middle.2."),
    (r"encoder\.down_blocks\.(\d+)\.resnets\.(\d+)\.", r"encoder.downsamples.\1.downsamples.\2."),
    (r"encoder\.down_blocks\.(\d+)\.downsampler\.", r"encoder.downsamples.\1.downsamples.2."),
    (r"decoder\.up_blocks\.(\d+)\.resnets\.(\d+)\.", r"decoder.upsamples.\1.upsamples.\2."),
    (r"decoder\.up_blocks\.(\d+)\.upsampler\.", r"decoder.upsamples.\1.upsamples.3."),
)


def vae(name: str) -> str | None:
    """Original Wan2.2 names, of the full or a light VAE."""
    return None if name.startswith("dynamic_feature_projection_heads.") else name


def vae_from_diffusers(name: str) -> str | None:
    """`AutoencoderKLWan` of Wan2.2, and the light VAEs in that style: two res blocks a stage down, three up."""
    if match := _RES_PART.match(name):
        name = f"{match[1]}.{_RES_BLOCK[match[2]]}.{name[match.end() :]}"
    return vae(_apply(_VAE, name))


_TEXT = _rules(
    (r"(shared|encoder\.embed_tokens)\.weight$", "token_embedding.weight"),
    (r"encoder\.final_layer_norm\.", "norm."),
    (r"encoder\.block\.(\d+)\.layer\.0\.SelfAttention\.([qkvo])\.", r"blocks.\1.attn.\2."),
    (
        r"encoder\.block\.(\d+)\.layer\.0\.SelfAttention\.relative_attention_bias\.",
        r"blocks.\1.pos_embedding.embedding.",
    ),
    (r"encoder\.block\.(\d+)\.layer\.0\.layer_norm\.", r"blocks.\1.norm1."),
    (r"encoder\.block\.(\d+)\.layer\.1\.layer_norm\.", r"blocks.\1.norm2."),
    (r"encoder\.block\.(\d+)\.layer\.1\.DenseReluDense\.wi_0\.", r"blocks.\1.ffn.gate.0."),
    (r"encoder\.block\.(\d+)\.layer\.1\.DenseReluDense\.wi_1\.", r"blocks.\1.ffn.fc1."),
    (r"encoder\.block\.(\d+)\.layer\.1\.DenseReluDense\.wo\.", r"blocks.\1.ffn.fc2."),
)


def text_from_transformers(name: str) -> str:
    """`UMT5EncoderModel`; of its two inner projections `wi_0` passes through the GELU. The embedding has two names,
    of which a file may hold either."""
    return _apply(_TEXT, name)


def tiny_vae(name: str) -> str | None:
    """TAEW2.2: only the decoder is ours."""
    return name if name.startswith("decoder.") else None


_TINY_MEMORY = re.compile(r"decoder\.blocks\.(\d)\.mem_blocks\.(\d)\.conv([123])\.")
_TINY_TIME = re.compile(r"decoder\.blocks\.(\d)\.time_grow\.")
_TINY_OUT = re.compile(r"decoder\.blocks\.(\d)\.conv_out\.")
_TINY = _rules((r"decoder\.conv_in\.", "decoder.1."), (r"decoder\.conv_out\.", "decoder.22."))


def tiny_vae_from_diffusers(name: str) -> str | None:
    """`AutoencoderTinyVideo`: its three decoder blocks are six entries each of the original's list of 23."""
    if match := _TINY_MEMORY.match(name):
        place, conv = 3 + 6 * int(match[1]) + int(match[2]), 2 * (int(match[3]) - 1)
        return f"decoder.{place}.conv.{conv}.{name[match.end() :]}"
    if match := _TINY_TIME.match(name):
        return f"decoder.{7 + 6 * int(match[1])}.conv.{name[match.end() :]}"
    if match := _TINY_OUT.match(name):
        return f"decoder.{8 + 6 * int(match[1])}.{name[match.end() :]}"
    return tiny_vae(_apply(_TINY, name))


def dit(name: str) -> str:
    """Original Wan names."""
    return name


def text(name: str) -> str:
    """Original Wan names."""
    return name


_FSDP = "_fsdp_wrapped_module."
_ADAPTED = re.compile(r"(?:base_model\.model\.)?(?:model\.)?(.+)\.lora_([AB])(?:\.default)?\.weight")


def unsharded(name: str) -> str:
    """Without the marks that sharded training leaves in names."""
    return name.replace(_FSDP, "")


def adapted(name: str) -> tuple[str, str] | None:
    """Of a PEFT tensor the module that it adapts and its side, `A` or `B`; None for any other tensor."""
    match = _ADAPTED.fullmatch(name)
    return (match[1], match[2]) if match else None
