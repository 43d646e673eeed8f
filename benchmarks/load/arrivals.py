"""When sessions come: a Poisson process, which is gaps of an exponential law without memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np


def poisson(per_s: float, seed: int) -> Iterator[float]:
    """Seconds at which sessions come, `per_s` a second on the mean, without end; the same for the same seed."""
    chance = np.random.default_rng(seed)
    return itertools.accumulate(float(chance.exponential(1 / per_s)) for _ in itertools.count())


def first(count: int, per_s: float, seed: int) -> list[float]:
    """The first so many of them; the very first comes at once."""
    return [0.0, *itertools.islice(poisson(per_s, seed), count - 1)][:count]


def within(seconds: float, per_s: float, seed: int) -> list[float]:
    """All that come within so many seconds."""
    return list(itertools.takewhile(lambda at: at < seconds, poisson(per_s, seed)))
