"""What a device can do at best: large products of matrices, and copies within its memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from wan.errors import Fp8Unavailable
from wan.fp8 import quantise_rows, require

Mark = float | torch.cuda.Event


class Clock:
    """Marks in the work of a device: events in a GPU's current stream, moments on a CPU."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._cuda = device.type == "cuda"

    def mark(self) -> Mark:
        """Here."""
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        return event

    def wait(self) -> None:
        """Until all work is done: only then may the marks be compared."""
        if self._cuda:
            torch.cuda.synchronize(self._device)

    @staticmethod
    def ms(start: Mark, end: Mark) -> float:
        """Milliseconds between two marks."""
        if isinstance(start, float) and isinstance(end, float):
            return 1000 * (end - start)
        assert isinstance(start, torch.cuda.Event)
        assert isinstance(end, torch.cuda.Event)
        return float(start.elapsed_time(end))


@dataclass(frozen=True, slots=True)
class Roofline:
    """Operations and bytes per second; a copy reads and writes each byte. `fp8` is None where there is none."""

    dtype: str
    matmul: float
    fp8: float | None
    copy: float


def measure(device: torch.device) -> Roofline:
    """The median rates over a while: a GPU that gets hot slows down, and so it does in service."""
    cuda = device.type == "cuda"
    seconds = 1.0 if cuda else 0.2
    dtype = torch.bfloat16 if cuda else torch.float32
    size, nbytes = (8192, 1 << 30) if cuda else (1024, 1 << 26)
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    source = torch.ones(nbytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    product, clock = torch.empty_like(a), Clock(device)
    operations = 2 * size**3
    return Roofline(
        dtype=str(dtype).removeprefix("torch."),
        matmul=operations / _median(clock, seconds, lambda: torch.mm(a, b, out=product)),
        fp8=_fp8(clock, seconds, a, b, operations),
        copy=2 * nbytes / _median(clock, seconds, lambda: target.copy_(source)),
    )


def _fp8(clock: Clock, seconds: float, a: Tensor, b: Tensor, operations: int) -> float | None:
    """The product that `wan.fp8` uses, its operands already rounded. A CPU only imitates it."""
    try:
        require(a.device)
    except Fp8Unavailable:
        return None
    if a.device.type == "cpu":
        return None
    (left, left_scale), (right, right_scale) = quantise_rows(a), quantise_rows(b)

    def work() -> None:
        torch._scaled_mm(
            left,
            right.t(),
            scale_a=left_scale,
            scale_b=right_scale.t(),
            out_dtype=torch.bfloat16,
            use_fast_accum=True,
        )

    return operations / _median(clock, seconds, work)


def _median(clock: Clock, seconds: float, work: Callable[[], object], batch: int = 5) -> float:
    """Seconds that it takes once."""
    work()
    clock.wait()
    times: list[float] = []
    until = time.perf_counter() + seconds
    while not times or time.perf_counter() < until:
        start = clock.mark()
        for _ in range(batch):
            work()
        end = clock.mark()
        clock.wait()
        times.append(clock.ms(start, end) / 1000 / batch)
    return statistics.median(times)
