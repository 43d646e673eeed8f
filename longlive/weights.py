"""A folder of checkpoints: what is in it, and which of it makes a LongLive-2.0.

`python -m longlive.weights inspect PATH` says what each file is and whether the weights fit a GPU, before any is read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer

from longlive.budget import USABLE, budget
from longlive.presets import Preset, find
from wan.configs import DiTConfig, TinyVAEConfig, UMT5Config, VAEConfig
from wan.dit import DiT
from wan.taew22 import TinyVAE
from wan.umt5 import UMT5
from wan.vae22 import VAE
from wan.weights.errors import AmbiguousPart, MissingPart, WeightsError
from wan.weights.files import Checkpoint, open_checkpoint
from wan.weights.infer import dit_config, has_encoder, pruning, tiny_vae_config, umt5_config, vae_config
from wan.weights.layouts import Named, Part, identify
from wan.weights.load import verify
from wan.weights.lora import read_lora
from wan.weights.shards import checkpoints

TOKENIZER = "tokenizer.json"
GIB = 1 << 30
HIDDEN = {"mean", "std", "eps", "max_distance", "text_len"}
"""Fields of a configuration that its tensors do not tell."""

Config = DiTConfig | VAEConfig | UMT5Config | TinyVAEConfig


@dataclass(frozen=True, slots=True)
class Found:
    """The parts of a model in a folder. Of the two decoders at least one is there."""

    dit: Checkpoint
    text: Checkpoint
    tokenizer: Path
    vae: Checkpoint | None
    tiny_vae: Checkpoint | None
    loras: tuple[Checkpoint, ...]


@dataclass(frozen=True, slots=True)
class Survey:
    """Everything below a path: what could be told, and why the rest could not."""

    named: tuple[Named, ...]
    refused: tuple[WeightsError, ...]

    def of(self, part: Part) -> list[Checkpoint]:
        """The checkpoints that hold this part."""
        return [named.checkpoint for named in self.named if named.layout.part is part]


def survey(path: Path) -> Survey:
    """Open and identify every checkpoint at or below `path`; reads no tensors."""
    named: list[Named] = []
    refused: list[WeightsError] = []
    for folder in _folders(path):
        try:
            paths = checkpoints(folder) if folder.is_dir() else [folder]
        except WeightsError as error:
            refused.append(error)
            continue
        for candidate in paths:
            try:
                named.append(identify(open_checkpoint(candidate)))
            except WeightsError as error:
                refused.append(error)
    return Survey(tuple(named), tuple(refused))


def resolve(folder: Path) -> Found:
    """The parts of a model in a folder and the folders below it, told by their content.

    Raises:
        MissingPart: there is no transformer, text encoder, decoder or tokenizer; says what could not be read.
        AmbiguousPart: there are two of one of them.
    """
    content = survey(folder)
    vae, tiny = _one(folder, content, Part.VAE), _one(folder, content, Part.TINY_VAE)
    if vae is None and tiny is None:
        raise _missing(folder, Part.VAE, content)
    tokenizers = sorted(folder.rglob(TOKENIZER))
    if len(tokenizers) > 1:
        raise AmbiguousPart(folder, f"several tokenizers: {_list(tokenizers)}")
    if not tokenizers:
        raise _missing(folder, TOKENIZER, content)
    return Found(
        dit=_required(folder, content, Part.DIT),
        text=_required(folder, content, Part.TEXT),
        tokenizer=tokenizers[0],
        vae=vae,
        tiny_vae=tiny,
        loras=tuple(content.of(Part.LORA)),
    )


def network_of(named: Named, head_dim: int = 128) -> DiT | VAE | TinyVAE | UMT5 | None:
    """The network of the sizes that the tensors tell, without memory; a LoRA has none.

    Raises:
        WeightsError: the tensors are not those of one of our networks. All are checked, and none is read.
    """
    checkpoint = named.checkpoint
    with torch.device("meta"):
        network: DiT | VAE | TinyVAE | UMT5
        match named.layout.part:
            case Part.DIT:
                network = DiT(dit_config(checkpoint, head_dim))
            case Part.VAE:
                network = VAE(vae_config(checkpoint))
            case Part.TINY_VAE:
                network = TinyVAE(tiny_vae_config(checkpoint))
            case Part.TEXT:
                network = UMT5(umt5_config(checkpoint))
            case Part.LORA:
                return None
    verify(network, checkpoint)
    return network


def weights_nbytes(content: Survey, dtype: torch.dtype) -> int:
    """Bytes of the networks once loaded as `dtype`; a LoRA is merged and takes none."""
    counts = (
        named.stored(name).count
        for named in content.named
        if named.layout.part is not Part.LORA
        for name in named.theirs
    )
    return sum(counts) * dtype.itemsize


def _folders(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for folder, below, _ in os.walk(path):
        below.sort()
        yield Path(folder)


def _required(folder: Path, content: Survey, part: Part) -> Checkpoint:
    found = _one(folder, content, part)
    if found is None:
        raise _missing(folder, part, content)
    return found


def _one(folder: Path, content: Survey, part: Part) -> Checkpoint | None:
    found = content.of(part)
    if len(found) > 1:
        raise AmbiguousPart(folder, f"several of the part {part}: {_list([one.path for one in found])}")
    return found[0] if found else None


def _missing(folder: Path, part: str, content: Survey) -> MissingPart:
    unused = "".join(f"; not used: {error}" for error in content.refused)
    return MissingPart(folder, f"no {part} in it{unused}")


def _list(paths: list[Path]) -> str:
    return ", ".join(str(path) for path in paths)


app = typer.Typer(add_completion=False, help="Checkpoints of LongLive-2.0.")


@app.callback()
def _main() -> None:
    """Checkpoints of LongLive-2.0."""


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="A checkpoint or a folder of them.")],
    preset: Annotated[str | None, typer.Option(help="Compare with this preset, and fit a stream of it.")] = None,
    gpu_memory: Annotated[float | None, typer.Option(help="GiB to fit into, instead of those of cuda:0.")] = None,
) -> None:
    """Say what each checkpoint is and whether the weights fit the GPU. Exits 1 when none is usable."""
    wanted = _preset(preset)
    content = survey(path)
    for named in content.named:
        typer.echo("\n".join(_describe(named, wanted)))
    for error in content.refused:
        typer.echo(f"not usable: {error}")
    if not content.named:
        typer.echo(f"{path}: no usable checkpoint")
        raise typer.Exit(1)
    typer.echo(_fit(content, wanted, gpu_memory))


def _preset(name: str | None) -> Preset | None:
    try:
        return find(name) if name else None
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _describe(named: Named, preset: Preset | None) -> list[str]:
    checkpoint = named.checkpoint
    dtypes = ", ".join(str(dtype).removeprefix("torch.") for dtype in checkpoint.dtypes)
    size = f"{len(checkpoint.tensors)} tensors, {checkpoint.count:,} parameters, {dtypes}"
    lines = [
        str(checkpoint.path),
        f"  {named.layout}" + (f", section {checkpoint.section}" if checkpoint.section else ""),
        f"  {size}, {checkpoint.nbytes / GIB:.2f} GiB in {len(checkpoint.files)} file(s)",
    ]
    try:
        return lines + [f"  {line}" for line in _sizes(named, preset)]
    except WeightsError as error:
        return [*lines, f"  not usable: {error}"]


def _sizes(named: Named, preset: Preset | None) -> Iterator[str]:
    network = network_of(named, preset.dit.head_dim if preset else 128)
    if network is None:
        updates = read_lora(named.checkpoint).updates
        ranks = sorted({named.shape(update.a)[0] for update in updates.values()})
        yield f"{len(updates)} layers adapted, ranks {ranks}"
        return
    config = network.config
    yield ", ".join(f"{field} {value}" for field, value in _fields(config).items())
    if isinstance(config, VAEConfig):
        kept = "full width" if not pruning(config) else f"light: {pruning(config):.0%} of the decoder's width pruned"
        yield kept + ("" if has_encoder(named) else ", without an encoder")
    if preset is not None and not isinstance(config, TinyVAEConfig):
        yield _compare(config, preset)


def _fields(config: Config) -> dict[str, object]:
    return {field: value for field, value in asdict(config).items() if field not in HIDDEN}


def _compare(config: Config, preset: Preset) -> str:
    expected = _fields(next(own for own in (preset.dit, preset.vae, preset.text) if isinstance(own, type(config))))
    wrong = [
        f"{field} must be {expected[field]}" for field, value in _fields(config).items() if value != expected[field]
    ]
    return f"differs from preset {preset.name}: {', '.join(wrong)}" if wrong else f"the sizes of preset {preset.name}"


def _fit(content: Survey, preset: Preset | None, gpu_memory: float | None) -> str:
    if preset is None:
        needed, what = weights_nbytes(content, torch.bfloat16), "The weights take {} as bfloat16"
    else:
        needed, what = budget(preset).total(), f"One stream of preset {preset.name} takes {{}}, weights included"
    need = what.format(f"{needed / GIB:.2f} GiB")
    if gpu_memory is None and not torch.cuda.is_available():
        return f"{need}; there is no GPU to fit into (give --gpu-memory)."
    memory = gpu_memory * GIB if gpu_memory is not None else torch.cuda.get_device_properties(0).total_memory
    usable = USABLE * memory
    verdict = "it fits" if needed <= usable else f"{(needed - usable) / GIB:.2f} GiB too much"
    return f"{need}; usable of the GPU's {memory / GIB:.2f} GiB are {usable / GIB:.2f}: {verdict}."


if __name__ == "__main__":
    app()
