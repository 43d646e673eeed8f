"""Which network a checkpoint holds, and in whose names. Decided by names and shapes; file names do not matter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from torch import Tensor

from wan.weights import names
from wan.weights.errors import MissingTensors, UnknownLayout, UnsupportedLayout
from wan.weights.files import Checkpoint, Stored


class Part(StrEnum):
    """The network, by its role."""

    DIT = "transformer"
    VAE = "VAE"
    TINY_VAE = "tiny VAE"
    TEXT = "text encoder"
    LORA = "LoRA"


@dataclass(frozen=True, slots=True)
class Layout:
    """A network and a way to name its tensors.

    `signs` are names that every such checkpoint has and no other layout has all of. `rename` leads to our names.
    """

    part: Part
    name: str
    signs: tuple[str, ...]
    rename: Callable[[str], str | None]

    def __str__(self) -> str:
        return f"{self.part}, {self.name}"


RELEASE = "LongLive release"

_LAYOUTS = (
    Layout(Part.DIT, "Wan", ("patch_embedding.weight", "blocks.0.self_attn.q.weight"), names.dit),
    Layout(Part.DIT, "diffusers", ("patch_embedding.weight", "blocks.0.attn1.to_q.weight"), names.dit_from_diffusers),
    Layout(
        Part.VAE, "Wan2.2", ("decoder.conv1.weight", "decoder.upsamples.0.upsamples.0.residual.2.weight"), names.vae
    ),
    Layout(
        Part.VAE,
        "diffusers",
        ("decoder.conv_in.weight", "decoder.up_blocks.0.upsampler.resample.1.weight"),
        names.vae_from_diffusers,
    ),
    Layout(Part.TINY_VAE, "TAEW2.2", ("decoder.1.weight", "decoder.3.conv.0.weight"), names.tiny_vae),
    Layout(
        Part.TINY_VAE,
        "diffusers",
        ("decoder.conv_in.weight", "decoder.blocks.0.mem_blocks.0.conv1.weight"),
        names.tiny_vae_from_diffusers,
    ),
    Layout(Part.TEXT, "Wan", ("token_embedding.weight", "blocks.0.pos_embedding.embedding.weight"), names.text),
    Layout(
        Part.TEXT,
        "transformers",
        ("encoder.final_layer_norm.weight", "encoder.block.0.layer.1.DenseReluDense.wi_0.weight"),
        names.text_from_transformers,
    ),
)
_LORA = Layout(Part.LORA, "PEFT", (), names.dit)
_QUANTISED = "quantized_weight_values"
_PREFIX = "model."
_EMBEDDINGS = ("shared.weight", "encoder.embed_tokens.weight")


class Named:
    """A checkpoint under our names.

    `theirs` maps each of our names to the file's.
    """

    def __init__(self, checkpoint: Checkpoint, layout: Layout, theirs: Mapping[str, str]) -> None:
        self.checkpoint = checkpoint
        self.layout = layout
        self.theirs = theirs

    def stored(self, name: str) -> Stored:
        """What the file says of the tensor with our `name`. Raises MissingTensors."""
        if name not in self.theirs:
            raise MissingTensors(self.checkpoint.path, (name,), len(self.theirs))
        return self.checkpoint.tensors[self.theirs[name]]

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of the tensor with our `name`. Raises MissingTensors."""
        return self.stored(name).shape

    def tensor(self, name: str) -> Tensor:
        """Its values, mapped from disk."""
        return self.checkpoint.tensor(self.theirs[name])


def identify(checkpoint: Checkpoint) -> Named:
    """What the checkpoint holds.

    Raises:
        UnsupportedLayout: known, but not for these networks.
        UnknownLayout: nothing known.
    """
    plain = {names.unsharded(name): name for name in checkpoint.tensors}
    if any(name.endswith(_QUANTISED) for name in plain):
        raise UnsupportedLayout(
            checkpoint.path, "NVFP4 weights (4o6), which only Blackwell GPUs multiply: use bf16 ones"
        )
    if any(names.adapted(name) for name in plain):
        return Named(checkpoint, _LORA, plain)
    prefixed = all(name.startswith(_PREFIX) for name in plain)
    if prefixed:
        plain = {name.removeprefix(_PREFIX): theirs for name, theirs in plain.items()}
    layout = _recognise(checkpoint, plain)
    if layout.part is Part.DIT and (prefixed or "generator" in (checkpoint.section or "")):
        layout = Layout(layout.part, f"{RELEASE} ({layout.name} names)", layout.signs, layout.rename)
    return Named(checkpoint, layout, _renamed(checkpoint, layout, plain))


def _recognise(checkpoint: Checkpoint, plain: Mapping[str, str]) -> Layout:
    for layout in _LAYOUTS:
        if all(sign in plain for sign in layout.signs):
            return layout
    few = ", ".join(list(plain)[:3])
    raise UnknownLayout(checkpoint.path, f"no network of Wan2.2 has these {len(plain)} tensors: {few} ...")


def _renamed(checkpoint: Checkpoint, layout: Layout, plain: Mapping[str, str]) -> dict[str, str]:
    theirs: dict[str, str] = {}
    for name, stored_name in plain.items():
        ours = layout.rename(name)
        if ours is None or (name == _EMBEDDINGS[1] and _EMBEDDINGS[0] in plain):  # one embedding under two names
            continue
        if ours in theirs:
            raise UnknownLayout(checkpoint.path, f"both {theirs[ours]} and {stored_name} are {ours}")
        theirs[ours] = stored_name
    return theirs
