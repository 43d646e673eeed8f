"""How long a waiter waits: when slots come free, from what runs and loads now. Pure; seconds from now.

Sessions are not alike, so the wait is no sum of means. Each running session leaves by the time t with the probability
that one as old as it does, by the sessions measured lately, and at its deadline for certain. A slot that comes free is
taken by a waiter, who leaves in turn: with f(t) the slots expected by t from what is there now and F(t) the share of
sessions that last at most t, the slots expected in all are S(t) = f(t) + ∫ F(t - u) dS(u), the renewal equation. Who
waits behind k others is served when S reaches k + 1. For the first in the queue chance matters most and the answer is
exact: the mean of the earliest of independent times is the integral of the probability that none has come.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from cluster.lengths import Curve, Lengths

STEPS = 64
"""Of the time axis; the wait is interpolated between them."""
SAMPLE = 32
"""At most so many running or loading things are looked at, evenly chosen; each then stands for several."""
NEARLY = 0.03
"""A slot that is so nearly there is there: that a session never ends always keeps some probability."""
EXACT = 0.005
"""Slots that are left out, as a share of all."""
CYCLES = 3
"""Mean session lengths after which slots are taken to come free at an even rate, each once per mean length."""

T = TypeVar("T")


class Running(NamedTuple):
    """A session that holds a slot: how old it is, and how long it may still last at most."""

    age_s: float
    left_s: float


class Forecast:
    """Made for one moment.

    `running` and `loading_s` (seconds until a worker's slots are there) may be samples: each entry then counts
    `running_each` and `loading_each` slots. `free` slots are there now.
    """

    def __init__(
        self,
        lengths: Lengths,
        free: int,
        running: Sequence[Running],
        running_each: float,
        loading_s: Sequence[float],
        loading_each: float,
    ) -> None:
        self._lengths = lengths
        self._free = free
        self._age, self._left = np.array(running, dtype=np.float64).reshape(-1, 2).T
        self._running_each = running_each
        self._loading = np.sort(np.array(loading_s, dtype=np.float64))
        self._loading_each = loading_each

    def waits_s(self, positions: Sequence[int]) -> list[float | None]:
        """The expected wait at each zero-based position; None where nothing says when so many slots come free."""
        most = max(positions, default=0) + 1
        horizon, furthest = self._horizons(most)
        time, slots = self._slots(horizon)
        while slots[-1] < most and horizon < furthest:
            horizon = min(3 * horizon, furthest)
            time, slots = self._slots(horizon)
        if slots[STEPS // 4] >= most:  # far nearer than thought
            time, slots = self._slots(float(time[np.searchsorted(slots, most)]))
        waits = [self._crossing(time, slots, position + 1) for position in positions]
        if self._free or 0 not in positions or waits.count(None) == len(waits):
            return waits
        first_s = self._first_s(furthest)
        return [
            wait_s if wait_s is None else first_s if position == 0 else max(first_s, wait_s)
            for position, wait_s in zip(positions, waits, strict=True)
        ]

    def _first_s(self, horizon: float) -> float:
        """The expected time of the first slot. The time axis is made twice, the second time as long as it matters."""
        time, none_yet = self._none_yet(horizon)
        if none_yet[-1] < NEARLY:
            time, none_yet = self._none_yet(float(time[np.argmax(none_yet < NEARLY)]))
        running = self._running_each * len(self._age)
        later_s = none_yet[-1] * self._lengths.mean / running if self._lengths.mean and running else 0.0
        return float((none_yet.sum() - (none_yet[0] + none_yet[-1]) / 2) * time[1] + later_s)

    def _none_yet(self, horizon: float) -> tuple[Curve, Curve]:
        """The time axis, and the probability that no slot has come free by each of its times."""
        time = np.linspace(0.0, horizon, STEPS + 1)
        none_yet = np.exp(self._running_each * np.log(np.maximum(1.0 - self._gone(time), 1e-12)).sum(axis=0))
        return time, np.where(np.searchsorted(self._loading, time, side="right") > 0, 0.0, none_yet)

    def _horizons(self, most: int) -> tuple[float, float]:
        """A time near the answer, so that the axis is fine there, and the last that is worth looking at."""
        mean, there = self._lengths.mean, self._free + self._running_each * len(self._age)
        ready = float(self._loading.max(initial=0.0))
        if mean is None:
            furthest = float(self._left[np.isfinite(self._left)].max(initial=ready))
            return furthest, furthest
        furthest = ready + CYCLES * mean
        return min(furthest, 1.5 * mean * most / there if there else furthest), furthest

    def _slots(self, horizon: float) -> tuple[Curve, Curve]:
        """The time axis up to `horizon`, and the slots that are expected by each of its times."""
        time = np.linspace(0.0, horizon, STEPS + 1)
        leavers = self._running_each * self._gone(time).sum(axis=0)
        now = self._free + leavers + self._loading_each * np.searchsorted(self._loading, time, side="right")
        over = 1.0 - self._lengths.lasting(time)
        over[0] = 0.0
        slots = now
        while True:  # each round adds those who leave slots that came free in the round before; they become few
            taken = slots.copy()
            taken[1:] -= slots[:-1]
            more = now + np.convolve(taken, over)[: len(time)]
            if more[-1] - slots[-1] <= EXACT * more[-1]:
                return time, more
            slots = more

    def _gone(self, time: Curve) -> Curve:
        """The probability that each of those who run has left by each time; (running, times)."""
        age, left = self._age[:, None], self._left[:, None]
        gone = 1.0 - self._lengths.lasting(age + time) / self._lengths.lasting(age)
        return np.where(time >= left, 1.0, gone)

    def _crossing(self, time: Curve, slots: Curve, level: int) -> float | None:
        """When the slots, which never become fewer, reach the level."""
        at = int(np.searchsorted(slots, level - NEARLY))
        if at == 0:
            return 0.0
        if at < len(slots):
            share = (level - NEARLY - slots[at - 1]) / (slots[at] - slots[at - 1])
            return float(time[at - 1] + share * (time[at] - time[at - 1]))
        mean = self._lengths.mean
        every = self._free + self._running_each * len(self._age) + self._loading_each * len(self._loading)
        if mean is None or not every:
            return None
        lately = time >= time[-1] - mean  # slots may come free in waves: their crests go on at the rate
        ahead = float((slots - time * every / mean)[lately].max())
        return max(float(time[-1]), (level - ahead) * mean / every)


def sample(things: Sequence[T]) -> tuple[list[T], float]:
    """At most `SAMPLE` of them, evenly chosen, and how many each stands for."""
    count = min(len(things), SAMPLE)
    if not count:
        return [], 1.0
    return [things[(2 * n + 1) * len(things) // (2 * count)] for n in range(count)], len(things) / count


def announced(seconds: float | None) -> float | None:
    """A wait as people say it, so that listeners are told of news and not of each passing second."""
    if seconds is None:
        return None
    step = 1 if seconds < 20 else 5 if seconds < 120 else 30
    return float(step * math.floor(seconds / step + 0.5))
