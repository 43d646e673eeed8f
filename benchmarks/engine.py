"""The engine of LongLive-2.0, measured: each stage, the whole, and how far both are from what the device can do.

`python benchmarks/engine.py --preset 5b --device cuda:0` with random weights at full size; `--preset tiny` runs on a
CPU. `--option name=value` sets an option of `longlive.options`, as often as it is given. Output is Markdown.
"""

from __future__ import annotations

import json
import math
import resource
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from benchmarks import roofline
from benchmarks.roofline import Roofline
from benchmarks.stages import PROMPT, WARM_UP, Bench, Samples
from longlive.budget import GB, budget
from longlive.flops import flops, text_flops
from longlive.network import Network
from longlive.parts import random
from longlive.presets import Preset, find
from longlive.slots import SLOTS
from wan.prompt import clean

TERA = 10**12


@dataclass(frozen=True, slots=True)
class Stage:
    """Milliseconds over the steady window, TFLOP of one run, TFLOP/s at the median and their part of the roofline."""

    name: str
    median_ms: float
    p95_ms: float
    tflop: float | None = None
    tflops: float | None = None
    of_roofline: float | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """All that is measured; `chunk_ms` is a chunk in service, `ceiling_fps` its arithmetic at the roofline's rate."""

    preset: str
    decoder_dim: int
    device: str
    torch: str
    options: Mapping[str, Any]
    chunks: int
    roofline: Roofline
    stages: Sequence[Stage]
    chunk_ms: float
    chunk_p95_ms: float
    fps: float
    ceiling_fps: float
    first_picture_ms: float
    peak_bytes: int
    budget_bytes: int
    recompiles: int


def measure(preset: Preset, device: str, chunks: int) -> Report:
    """Load random weights, fill the window, measure."""
    place = torch.device(device)
    network, tokens = _load(preset, device)
    bench = Bench(network)
    bench.warm_up()
    if place.type == "cuda":
        torch.cuda.reset_peak_memory_stats(place)
    compiled = _compiled(network)
    samples, service, firsts = bench.stages(chunks), bench.service(chunks), bench.first_pictures()
    recompiles, peak = _compiled(network) - compiled, _peak(place)
    best = roofline.measure(place)
    frames = service.pictures / chunks
    return Report(
        preset=preset.name,
        decoder_dim=preset.vae.decoder_dim,
        device=torch.cuda.get_device_name(place) if place.type == "cuda" else device,
        torch=torch.__version__,
        options=preset.options.model_dump(mode="json"),
        chunks=chunks,
        roofline=best,
        stages=list(_stages(preset, samples, tokens, best)),
        chunk_ms=1000 * statistics.median(service.chunks),
        chunk_p95_ms=1000 * _p95(service.chunks),
        fps=service.fps,
        ceiling_fps=frames * best.matmul / flops(preset).chunk(SLOTS, fresh=not preset.options.stream),
        first_picture_ms=statistics.median(firsts),
        peak_bytes=peak,
        budget_bytes=budget(preset).total(),
        recompiles=recompiles,
    )


def _load(preset: Preset, device: str) -> tuple[Network, int]:
    """The network, and the tokens of the benchmark's prompt."""
    if torch.device(device).type == "cpu":
        torch.set_num_threads(preset.options.threads)
    made = random(preset, device, getattr(torch, preset.options.dtype))
    return Network(preset, device, made), len(made.tokenizer.encode(clean(PROMPT)))


def _compiled(network: Network) -> int:
    return network.compiler.count if network.compiler else 0


def _stages(preset: Preset, samples: Samples, tokens: int, best: Roofline) -> Iterator[Stage]:
    """All stages and their sum. The copy to the host is part of the decoding, measured once more by itself."""
    operations, fresh = flops(preset), not preset.options.stream
    known = {
        "text": text_flops(preset, tokens),
        **{f"denoise {step}": operations.forward[SLOTS - 1] for step in range(1, operations.steps + 1)},
        "commit": operations.commit[SLOTS - 1],
        "VAE decode": operations.decode(fresh=fresh),
        "chunk": operations.chunk(SLOTS, fresh=fresh),
    }
    for name, times in samples.items():
        median, p95 = statistics.median(times), _p95(times)
        if name not in known:
            yield Stage(name, median, p95)
            continue
        rate = known[name] / (median / 1000)
        yield Stage(name, median, p95, known[name] / TERA, rate / TERA, rate / best.matmul)


def _peak(device: torch.device) -> int:
    """Bytes: of tensors on a GPU since the window was full, of the whole process on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _p95(values: Sequence[float]) -> float:
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


def markdown(report: Report) -> str:
    """The report as two tables."""
    return "\n".join([*_head(report), "", *_stage_table(report.stages), "", *_figures(report)])


def _head(report: Report) -> Iterator[str]:
    options = ", ".join(f"{name}={value}" for name, value in report.options.items() if value is not None)
    yield f"Preset `{report.preset}` on {report.device}, torch {report.torch}; {report.chunks} chunks after {WARM_UP}."
    yield f"Options: {options}; decoder width {report.decoder_dim}."


def _stage_table(stages: Sequence[Stage]) -> Iterator[str]:
    yield "| stage | median ms | p95 ms | TFLOP | TFLOP/s | of roofline |"
    yield "|---|---:|---:|---:|---:|---:|"
    for s in stages:
        rates = ("", "", "") if s.tflop is None else (f"{s.tflop:.3g}", f"{s.tflops:.3g}", f"{s.of_roofline:.0%}")
        yield f"| {s.name} | {s.median_ms:.2f} | {s.p95_ms:.2f} | {' | '.join(rates)} |"


def _figures(report: Report) -> Iterator[str]:
    best = report.roofline
    rows = {
        "chunk in service, median / p95": f"{report.chunk_ms:.1f} / {report.chunk_p95_ms:.1f} ms",
        "pictures per second": f"{report.fps:.2f}",
        "the same at the roofline": f"{report.ceiling_fps:.2f}",
        "new prompt to first picture": f"{report.first_picture_ms:.1f} ms",
        "peak memory / budget": f"{report.peak_bytes / GB:.2f} / {report.budget_bytes / GB:.2f} GB",
        "recompiled": f"{report.recompiles}",
        f"roofline, {best.dtype} product": f"{best.matmul / TERA:.3g} TFLOP/s",
        "roofline, fp8 product": "none" if best.fp8 is None else f"{best.fp8 / TERA:.3g} TFLOP/s",
        "roofline, copy": f"{best.copy / GB:.3g} GB/s",
    }
    yield "| figure | measured |"
    yield "|---|---:|"
    for name, value in rows.items():
        yield f"| {name} | {value} |"


def _option(text: str) -> tuple[str, Any]:
    """`name=value`; the value is JSON, or else a string."""
    name, separator, value = text.partition("=")
    if not separator:
        raise typer.BadParameter(f"{text!r} is not name=value")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def main(
    preset: Annotated[str, typer.Option(help="One of `longlive.presets`.")] = "tiny",
    chunks: Annotated[int, typer.Option(min=1, help="Chunks measured, twice: by stage and in service.")] = 10,
    device: Annotated[str, typer.Option(help="`cpu`, `cuda:0`.")] = "cpu",
    option: Annotated[
        list[str] | None, typer.Option(help="name=value, of `longlive.options`; may be repeated.")
    ] = None,
    decoder_dim: Annotated[
        int | None, typer.Option(help="Width of a pruned VAE's decoder; 128 is half of the released one.")
    ] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the figures there too.")] = None,
) -> None:
    """Measure and print."""
    try:
        chosen = find(preset, **dict(_option(text) for text in option or ()))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if decoder_dim is not None:
        chosen = replace(chosen, vae=replace(chosen.vae, decoder_dim=decoder_dim))
    report = measure(chosen, device, chunks)
    typer.echo(markdown(report))
    if json_path is not None:
        json_path.write_text(json.dumps(asdict(report), indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
