"""Who comes, when, and for how long: drawn ahead, minute by minute, from one generator."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from cluster.records import PriorityClass

STEP_S = 60.0
"""The rate of arrivals changes this often."""

Shape = Callable[[float], float]
"""How much busier than its mean the cluster is, by the share of the run that is over (0 to 1)."""


class Arrival(NamedTuple):
    """A session: who asks for it, at what second, and how many it would run."""

    at: float
    tenant: int
    length_s: float


@dataclass(frozen=True, slots=True)
class Tenant:
    """An account. `demand` is its part of the arrivals, in proportion to that of the others."""

    name: str
    demand: float = 1.0
    priority: PriorityClass = PriorityClass.NORMAL


class Lasting(Protocol):
    """How long sessions are."""

    longest_s: float

    @property
    def mean_s(self) -> float:
        """The expected length."""
        ...

    def draw(self, chance: np.random.Generator, count: int) -> NDArray[np.float64]:
        """So many lengths."""
        ...


@dataclass(frozen=True, slots=True)
class LogNormal:
    """Most are short and some are long; ended at `longest_s`, as the allocator does."""

    median_s: float
    sigma: float
    longest_s: float = math.inf

    @property
    def mean_s(self) -> float:
        """E[min(X, m)] = e^(µ+σ²/2) Φ((ln m - µ - σ²)/σ) + m (1 - Φ((ln m - µ)/σ))."""
        mu, over = math.log(self.median_s), NormalDist().cdf
        far = (math.log(self.longest_s) - mu) / self.sigma
        return math.exp(mu + self.sigma**2 / 2) * over(far - self.sigma) + self.longest_s * (1 - over(far))

    def draw(self, chance: np.random.Generator, count: int) -> NDArray[np.float64]:
        """So many lengths."""
        return np.minimum(chance.lognormal(math.log(self.median_s), self.sigma, count), self.longest_s)


@dataclass(frozen=True, slots=True)
class Exponential:
    """Without memory: what queueing theory has closed forms for."""

    mean_s: float
    longest_s: float = math.inf

    def draw(self, chance: np.random.Generator, count: int) -> NDArray[np.float64]:
        """So many lengths."""
        return chance.exponential(self.mean_s, count)


def even(_: float) -> float:
    """Always as busy."""
    return 1.0


def diurnal(swing: float, peak: float = 0.625) -> Shape:
    """A day: a cosine around the mean, `swing` above it at `peak` (0.625 is 15 h) and below it half a day away."""
    return lambda share: 1 + swing * math.cos(2 * math.pi * (share - peak))


def crowd(at: float, times: float, fades: float) -> Shape:
    """A flash crowd: at once so many times as busy, fading by a factor e in each `fades` of the run."""
    return lambda share: 1 + (times - 1) * math.exp((at - share) / fades) if share >= at else 1.0


def together(*shapes: Shape) -> Shape:
    """All at once."""
    return lambda share: math.prod(shape(share) for shape in shapes)


def arrivals(
    chance: np.random.Generator, seconds: float, per_s: float, shape: Shape, tenants: Sequence[Tenant], lasting: Lasting
) -> Iterator[Arrival]:
    """A Poisson process of `per_s` sessions a second on the mean, its rate shaped."""
    demand = np.array([tenant.demand for tenant in tenants])
    for start in np.arange(0.0, seconds, STEP_S):
        step = min(STEP_S, seconds - start)
        count = int(chance.poisson(per_s * shape((start + step / 2) / seconds) * step))
        at = np.sort(chance.uniform(start, start + step, count))
        whose = chance.choice(len(tenants), count, p=demand / demand.sum())
        yield from map(Arrival, at.tolist(), whose.tolist(), lasting.draw(chance, count).tolist())
