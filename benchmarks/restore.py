"""Restoring a stream, measured: the bytes and the time of both ways, and how far the quick one is from the exact one.

`python benchmarks/restore.py --preset tiny --chunks 12`: a story with a shot every four chunks is interrupted after
each number of chunks, and the chunk that follows is compared with the uninterrupted one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from longlive.engine import Engine, Kind
from longlive.network import Network
from longlive.parts import Parts, parts, random
from longlive.presets import Preset, find
from longlive.state import State, decode, encode

SHOTS = ("a fox in the snow", "a city street at night", "a boat on a calm lake")
CHUNKS_PER_SHOT = 4


@dataclass(frozen=True, slots=True)
class Row:
    """After `chunks` chunks: snapshots in bytes, restorations in milliseconds, and the relative L2 between the next
    chunk's latents and those of the stream that was never interrupted."""

    chunks: int
    scene_bytes: int
    scene_ms: float
    scene_difference: float
    window_bytes: int
    window_ms: float
    window_difference: float


def measure(network: Network, chunks: int) -> Iterator[Row]:
    """One stream to be interrupted after every chunk, and another to be restored each time."""
    engine, other = Engine(network), Engine(network)
    for done in range(1, chunks):
        _chunk(engine, done - 1)
        scene = engine.state(frames=0)
        window = _window_of(scene)
        after_scene = _restored(network, other, scene, done)
        after_window = _restored(network, other, window, done)
        engine.restore(scene)
        truth = _generate(engine, done)
        engine.restore(scene)
        yield Row(done, *_figures(after_scene, truth), *_figures(after_window, truth))


def _restored(network: Network, other: Engine, state: State, chunk: int) -> tuple[int, float, Tensor]:
    data = encode(state)
    start = time.perf_counter()
    other.restore(decode(data, network.preset.latent_shape, network.dtype))
    network.wait()
    seconds = time.perf_counter() - start
    return len(data), 1000 * seconds, _generate(other, chunk)


def _figures(restored: tuple[int, float, Tensor], truth: Tensor) -> tuple[int, float, float]:
    size, ms, latents = restored
    return size, ms, float((latents - truth).float().norm() / truth.float().norm())


def _window_of(state: State) -> State:
    """What the stream would have kept under `history=window`."""
    kept = [pair for pair in zip(state.record.kept, state.latents, strict=True) if pair[0].chunk in state.record.slots]
    record = state.record.model_copy(update={"kept": [item for item, _ in kept]})
    return State(record, tuple(latents for _, latents in kept))


def _chunk(engine: Engine, chunk: int) -> None:
    _generate(engine, chunk)
    engine.commit()


def _generate(engine: Engine, chunk: int) -> Tensor:
    shot, place = divmod(chunk, CHUNKS_PER_SHOT)
    kind: Kind = "continue" if place else "shot" if shot else "open"
    engine.prepare(SHOTS[shot % len(SHOTS)], kind, 1, chunk)
    return engine.generate()


def _parts(preset: Preset, device: str) -> Parts:
    if preset.weights_seed is None and preset.options.weights is None:
        return random(preset, device, getattr(torch, preset.options.dtype))
    return parts(preset, device)


def main(
    preset: Annotated[str, typer.Option(help="One of `longlive.presets`.")] = "tiny",
    chunks: Annotated[int, typer.Option(min=2, help="Chunks of the story.")] = 12,
    device: Annotated[str, typer.Option(help="`cpu`, `cuda:0`.")] = "cpu",
) -> None:
    """Measure and print, in Markdown."""
    chosen = find(preset, history="scene")
    torch.set_num_threads(chosen.options.threads)
    typer.echo("| chunks | scene MB | ms | difference | window MB | ms | difference |")
    typer.echo("|---:|---:|---:|---:|---:|---:|---:|")
    for row in measure(Network(chosen, device, _parts(chosen, device)), chunks):
        scene = f"{row.scene_bytes / 1e6:.1f} | {row.scene_ms:.0f} | {row.scene_difference:.2g}"
        window = f"{row.window_bytes / 1e6:.1f} | {row.window_ms:.0f} | {row.window_difference:.2g}"
        typer.echo(f"| {row.chunks} | {scene} | {window} |")


if __name__ == "__main__":
    typer.run(main)
