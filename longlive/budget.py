"""How much memory a preset needs, and on which GPUs it fits: `python -m longlive.budget` prints the table. No torch.

Weights, window, VAE state and prompts are exact; working memory is an estimate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import typer

from longlive.convolutions import convolutions, decoder, encoder, gains, tiny_kept
from longlive.presets import PRESETS, Preset, find
from longlive.slots import SLOTS
from wan.configs import DiTConfig, TinyVAEConfig, UMT5Config, VAEConfig

GB = 10**9

GPUS = {
    "H200": 141,
    "RTX PRO 6000": 96,
    "H100, A100": 80,
    "L40S": 48,
    "RTX 5090": 32,
    "RTX 4090": 24,
}
"""Memory in GB, as their makers name it; the driver's figures are some percent larger."""

USABLE = 0.95
"""The part of it that is left by the CUDA context, the convolutions' workspace and the allocator's gaps."""

WIDEST = 5
"""How many of the decoder's widest activation are alive at once, its upsampling being the peak: counted eagerly."""

_ITEMSIZE = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True, slots=True)
class Budget:
    """Bytes. `dit`, `text` and `vae` are weights; `kv` is one stream's; `prompts` are those kept encoded.

    `vae_state` is what the decoder remembers: one for all streams if each chunk is decoded afresh, one for each stream
    if it is kept (`streamed`). `work` and `vae_work` are estimates of the peak of activations.
    """

    dit: int
    text: int
    vae: int
    kv: int
    vae_state: int
    prompts: int
    work: int
    vae_work: int
    streamed: bool = False

    @property
    def weights(self) -> int:
        """Of all three networks."""
        return self.dit + self.text + self.vae

    @property
    def per_stream(self) -> int:
        """What each stream adds."""
        return self.kv + (self.vae_state if self.streamed else 0)

    @property
    def shared(self) -> int:
        """What is there however many streams there are."""
        return self.weights + self.prompts + self.work + self.vae_work + (0 if self.streamed else self.vae_state)

    def total(self, streams: int = 1) -> int:
        """All of it, on one device."""
        return self.shared + streams * self.per_stream

    def streams(self, memory: int) -> int:
        """How many streams fit into so many bytes."""
        return max(0, (memory - self.shared) // self.per_stream)

    def apart(self) -> tuple[Budget, Budget]:
        """The same for two devices: all but the decoder's, and the decoder's."""
        rest = replace(self, vae=0, vae_state=0, vae_work=0)
        return rest, replace(self, dit=0, text=0, kv=0, prompts=0, work=0)


def budget(preset: Preset) -> Budget:
    """The memory of a loaded preset."""
    options, dit = preset.options, preset.dit
    size = _ITEMSIZE[options.dtype]
    _, _, height, width = preset.latent_shape
    places = height * width
    saved = _fp8_saving(dit, size) if options.linears == "fp8" else 0
    return Budget(
        dit=dit_params(dit) * size - saved,
        text=text_params(preset.text) * size,
        vae=decoder_params(preset) * size,
        kv=2 * dit.layers * SLOTS * preset.tokens * dit.dim * size,
        vae_state=_kept(preset) * places * size,
        prompts=options.prompts * 2 * dit.layers * dit.text_len * dit.dim * size,
        # Seven of the width: the residual before and after, queries, keys, values, their mix, a normed copy.
        work=preset.tokens * (7 * dit.dim + 2 * dit.ffn_dim) * size,
        vae_work=WIDEST * _widest(preset) * places * size,
        streamed=options.stream,
    )


def decoder_params(preset: Preset) -> int:
    """Weights of what `options.decoder` names; the VAE comes with its encoder."""
    if preset.options.decoder == "wan":
        return vae_params(preset.vae)
    return sum(conv.params for conv in convolutions(preset))


def dit_params(config: DiTConfig) -> int:
    """Weights of `wan.dit.DiT`."""
    dim, patch = config.dim, config.channels * config.patch**2
    attention = 4 * _linear(dim, dim) + 2 * dim
    ffn = _linear(dim, config.ffn_dim) + _linear(config.ffn_dim, dim)
    block = 6 * dim + 2 * attention + 2 * dim + ffn
    text = _linear(config.text_dim, dim) + _linear(dim, dim)
    time = _linear(config.freq_dim, dim) + _linear(dim, dim) + _linear(dim, 6 * dim)
    return _linear(patch, dim) + text + time + config.layers * block + _linear(dim, patch) + 2 * dim


def text_params(config: UMT5Config) -> int:
    """Weights of `wan.umt5.UMT5`."""
    linears = 4 * config.dim * config.attn_dim + 3 * config.dim * config.ffn_dim
    block = 2 * config.dim + linears + config.buckets * config.heads
    return config.vocab * config.dim + config.layers * block + config.dim


def vae_params(config: VAEConfig) -> int:
    """Weights of `wan.vae22.VAE`, encoder and decoder."""
    return sum(conv.params for net in (encoder, decoder) for conv in net(config)) + gains(config)


def _widest(preset: Preset) -> int:
    """Values of the decoder's widest activation, per position of the latents."""
    return max(conv.inputs * conv.later * conv.scale**2 for conv in convolutions(preset))


def _kept(preset: Preset) -> int:
    """Values that the decoder remembers, per position of the latents."""
    if preset.options.decoder == "tiny":
        return tiny_kept(TinyVAEConfig())
    return sum(conv.kept for conv in convolutions(preset))


def _linear(inputs: int, outputs: int) -> int:
    return (inputs + 1) * outputs


def _fp8_saving(config: DiTConfig, size: int) -> int:
    """A block's linears at a byte a weight, a float32 scale per output and biases in bfloat16."""
    dim, ffn = config.dim, config.ffn_dim
    weights, outputs = 8 * dim**2 + 2 * dim * ffn, 9 * dim + ffn
    return config.layers * ((size - 1) * weights + (size - 2 - 4) * outputs)


def fit_table() -> str:
    """In Markdown: memory of each preset, and how many streams fit on each GPU."""
    heads = ("preset", "weights", "window", "VAE state", "prompts", "work", "one stream", "each more", *GPUS)
    lines = [heads, ("---", *["---:"] * (len(heads) - 1)), *_rows()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _rows() -> Iterator[tuple[str, ...]]:
    for name in PRESETS:
        for label, options in _variants(name):
            b = budget(find(name, **options))
            parts = (b.weights, b.kv, b.vae_state, b.prompts, b.work + b.vae_work, b.total(), b.per_stream)
            fits = (b.streams(int(USABLE * memory * GB)) for memory in GPUS.values())
            yield label, *(_gb(part) for part in parts), *(str(fit) if fit < 100 else "99+" for fit in fits)


def _variants(name: str) -> Iterator[tuple[str, dict[str, object]]]:
    yield f"`{name}`", {}
    if name != "tiny":
        yield f"`{name}`, `linears=fp8`", {"linears": "fp8"}
        yield f"`{name}`, `stream=true`", {"stream": True}
        yield f"`{name}`, `decoder=tiny`", {"decoder": "tiny"}


def _gb(size: int) -> str:
    return f"{size / GB:.1f}" if size >= GB / 10 else f"{size / GB:.3f}"


def main() -> None:
    """Print the fit table, in GB of 10^9 bytes and in streams."""
    typer.echo(fit_table())


if __name__ == "__main__":
    typer.run(main)
