"""How long a waiter waits: when slots come free, from what runs and loads now. Pure; seconds from now.

Who waits is served when the slots that have come free outnumber those that go before: who is ahead in the queue, and
who comes later and overtakes (`cluster.arrivals`).

Sessions are not alike, so the wait is no sum of means. Each running session leaves by the time t with the probability
that one as old as it does, by the sessions measured lately, and at its deadline for certain. A slot that comes free is
taken by a waiter, who leaves in turn: with f(t) the slots expected by t from what is there now and F(t) the share of
sessions that last at most t, the slots expected in all are S(t) = f(t) + ∫ F(t - u) dS(u), the renewal equation.

What is told is the median: half of those who are told so wait for less. Who waits behind k others is served when S,
less those who have overtaken, reaches k + 2/3. For the first in the queue chance matters most and the answer is exact:
no slot has come by the median of the earliest of independent times with the probability 1/2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from cluster.arrivals import Course, Overtakers, nobody
from cluster.lengths import Curve, Lengths

STEPS = 64
"""Of the time axis; the wait is interpolated between them."""
SAMPLE = 64
"""At most so many running or loading things are looked at, evenly chosen; each then stands for several."""
SOONER = 1 / 3
"""Of chance events that come at an even rate the n-th has its median when n less so many are expected (the Erlang
distribution)."""
EXACT = 0.005
"""Slots that are left out, as a share of all."""
CYCLES = 3
"""Mean session lengths after which slots are taken to come free at an even rate, each once per mean length."""
UNSURE = 0.15
"""How fast others come is known by the newest arrivals, and it changes while one waits: from a difference of less than
this, as a share of how fast slots come free, nothing is concluded."""

T = TypeVar("T")


class Running(NamedTuple):
    """A session that holds a slot: how old it is, and how long it may still last at most. On a worker that leaves with
    it, its end makes room for another worker and not for a session."""

    age_s: float
    left_s: float
    leaves: bool = False


class Behind(NamedTuple):
    """A waiter: how many in the queue go before, and how many more will come that do."""

    position: int
    overtakers: Overtakers = nobody


class Room(NamedTuple):
    """Slots of workers that may still be asked for; below 0, of those that were and wait for others to leave."""

    slots: float = 0.0
    load_s: float | None = None
    """From a worker's getting its place until it is ready; None if nobody knows."""


NO_ROOM = Room()


class Axis(NamedTuple):
    """What is expected by each of the course's times."""

    course: Course
    slots: Curve
    """That have come free."""
    spare: Curve
    """That workers will have which are asked for when more sessions come, if they do."""
    missing: dict[Overtakers, Curve]
    """Slots that overtakers take, less those of workers that they bring; filled as it is asked for."""


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
        room: Room = NO_ROOM,
    ) -> None:
        self._lengths = lengths
        self._free = free
        self._age, self._left, leaves = np.array(running, dtype=np.float64).reshape(-1, 3).T
        self._each = running_each
        self._leaves = leaves > 0
        self._there = free + running_each * float((leaves == 0).sum())
        self._loading = np.sort(np.array(loading_s, dtype=np.float64))
        self._loading_each = loading_each
        self._room = room

    def waits_s(self, behind: Sequence[Behind]) -> list[float | None]:
        """The median wait of each; None where nothing says when so many slots come free."""
        waits: list[float | None] = [None] * len(behind)
        near_s, furthest = self._horizons(min((each.position for each in behind), default=0) + 1)
        horizon = near_s
        left = list(range(len(behind)))
        while left:
            axis = self._axis(horizon)
            if len(left) == 1 and (near := self._crossing(axis, behind[left[0]])) and near < horizon / 4:
                axis = self._axis(near)  # far nearer than thought
            for n in left:
                waits[n] = self._crossing(axis, behind[n])
            left = [n for n in left if waits[n] is None]
            if horizon >= furthest:
                break
            horizon = min(3 * horizon, furthest)
        for n in left:
            waits[n] = self._beyond(axis, behind[n])
        if self._free or all(wait_s is None for wait_s in waits) or not any(each.position == 0 for each in behind):
            return waits
        first_s = self._first_s(near_s, furthest)
        return [
            wait_s if wait_s is None else max(first_s, wait_s) if each.position else first_s
            for wait_s, each in zip(waits, behind, strict=True)
        ]

    def _first_s(self, horizon: float, furthest: float) -> float:
        """The median time of the first slot."""
        time, none_yet = self._none_yet(horizon)
        while none_yet[-1] > 0.5 and horizon < furthest:
            horizon = min(3 * horizon, furthest)
            time, none_yet = self._none_yet(horizon)
        if none_yet[-1] > 0.5:
            each_s = self._lengths.mean / self._there if self._lengths.mean and self._there else 0.0
            return float(time[-1] + math.log(2 * none_yet[-1]) * each_s)
        if (by := int(np.argmax(none_yet <= 0.5))) < STEPS / 4:  # far nearer than thought
            time, none_yet = self._none_yet(float(time[by]))
        return float(np.interp(-0.5, -none_yet, time))

    def _none_yet(self, horizon: float) -> tuple[Curve, Curve]:
        """The time axis, and the probability that no slot has come free by each of its times."""
        time = np.linspace(0.0, horizon, STEPS + 1)
        gone = self._gone(time)[~self._leaves]
        if self._room.slots < 0 and self._room.load_s is not None:
            gone = np.concatenate((gone, self._gone(time - self._room.load_s)[self._leaves]))
        none_yet = np.exp(self._each * np.log(np.maximum(1.0 - gone, 1e-12)).sum(axis=0))
        return time, np.where(np.searchsorted(self._loading, time, side="right") > 0, 0.0, none_yet)

    def _horizons(self, most: int) -> tuple[float, float]:
        """A time near the answer, so that the axis is fine there, and the last that is worth looking at."""
        mean, there = self._lengths.mean, self._there
        ready = max(float(self._loading.max(initial=0.0)), self._room.load_s or 0.0)
        if mean is None:
            furthest = float(self._left[np.isfinite(self._left)].max(initial=0.0)) + ready
            return furthest, furthest
        furthest = ready + CYCLES * mean
        return min(furthest, 1.5 * mean * most / there if there else furthest), furthest

    def _axis(self, horizon: float) -> Axis:
        """Up to `horizon`."""
        time = np.linspace(0.0, horizon, STEPS + 1)
        gone = self._gone(time)
        staying = 1.0 - gone.mean(axis=0) if len(gone) else np.ones_like(time)
        replaced, spare = self._replaced(time)
        added = _integral(time, self._lengths.lasting(time))
        slots = self._slots(time, self._each * gone[~self._leaves].sum(axis=0) + replaced)
        return Axis(Course(time, staying, added), slots, spare, {})

    def _replaced(self, time: Curve) -> tuple[Curve, Curve]:
        """Slots of workers in the places of those that leave: of those that wait for that now, and of others."""
        if self._room.load_s is None:
            return np.zeros_like(time), np.zeros_like(time)
        places = np.zeros_like(time)
        if self._leaves.any():
            places = self._each * self._gone(time - self._room.load_s)[self._leaves].sum(axis=0)
        blocked = max(0.0, -self._room.slots)
        return np.minimum(places, blocked), np.maximum(places + self._room.slots, 0.0)

    def _slots(self, time: Curve, leavers: Curve) -> Curve:
        """The slots that are expected by each time, of those who run now and of those who take their places."""
        now = self._free + leavers + self._loading_each * np.searchsorted(self._loading, time, side="right")
        over = 1.0 - self._lengths.lasting(time)
        over[0] = 0.0
        slots = now
        while True:  # each round adds those who leave slots that came free in the round before; they become few
            taken = slots.copy()
            taken[1:] -= slots[:-1]
            more = now + np.convolve(taken, over)[: len(time)]
            if more[-1] - slots[-1] <= EXACT * more[-1]:
                return np.asarray(more)
            slots = more

    def _gone(self, time: Curve) -> Curve:
        """The probability that each of those who run has left by each time; (running, times). None has before 0."""
        age, left = self._age[:, None], self._left[:, None]
        gone = 1.0 - self._lengths.lasting(age + np.maximum(time, 0.0)) / self._lengths.lasting(age)
        return np.where((time >= left) & (time >= 0), 1.0, gone)

    def _net(self, axis: Axis, behind: Behind) -> Curve:
        """The slots left by those who overtake."""
        if behind.overtakers is nobody or behind.position == 0:
            return axis.slots
        missing = axis.missing.get(behind.overtakers)
        if missing is None:
            time = axis.course.time
            overtaken = _integral(time, behind.overtakers(axis.course))
            brought = np.interp(time - (self._room.load_s or 0.0), time, overtaken, left=0.0)
            missing = axis.missing[behind.overtakers] = overtaken - np.minimum(brought, axis.spare)
        return np.asarray(axis.slots - missing * _counts(behind))

    def _crossing(self, axis: Axis, behind: Behind) -> float | None:
        """When there is a slot for it; None if that is not on the axis."""
        time, net, level = axis.course.time, self._net(axis, behind), behind.position + 1 - SOONER
        at = int(np.argmax(net >= level))
        if net[at] < level:
            return None
        if at == 0:
            return 0.0
        share = (level - net[at - 1]) / (net[at] - net[at - 1])
        return float(time[at - 1] + share * (time[at] - time[at - 1]))

    def _beyond(self, axis: Axis, behind: Behind) -> float | None:
        """The same behind the end of the axis; None if nobody knows, or others come nearly as fast as slots do."""
        mean, time = self._lengths.mean, axis.course.time
        if mean is None:
            return None
        every = self._there + self._loading_each * len(self._loading)
        rate = every / mean - float(behind.overtakers(axis.course)[-1]) * _counts(behind)
        if rate <= UNSURE * every / mean:
            return None
        lately = time >= time[-1] - mean  # slots may come free in waves: their crests go on at the rate
        ahead = float((self._net(axis, behind) - time * rate)[lately].max())
        return max(float(time[-1]), (behind.position + 1 - SOONER - ahead) / rate)


def _counts(behind: Behind) -> float:
    """What an overtaker counts for the median: how long a slot takes to come is very uneven where nearly as many
    overtake as slots come free. The time in which a random walk, down by slots and up by overtakers, first falls by two
    or more has its median so, to 4 % for up to nine overtakers to ten slots (fitted to the exact distribution)."""
    return 1 - 0.9 / (behind.position + 4 / 3)


def _integral(time: Curve, rate: Curve) -> Curve:
    """From the beginning to each time; these are evenly apart."""
    return np.asarray(np.concatenate((np.zeros(1), np.cumsum((rate[1:] + rate[:-1]) / 2))) * time[1])


def sample(things: Sequence[T], most: int = SAMPLE) -> tuple[list[T], float]:
    """At most so many of them, evenly chosen, and how many each stands for."""
    count = min(len(things), most)
    if not count:
        return [], 1.0
    return [things[(2 * n + 1) * len(things) // (2 * count)] for n in range(count)], len(things) / count


def announced(seconds: float | None) -> float | None:
    """A wait as people say it, so that listeners are told of news and not of each passing second; below two seconds in
    tenths, as a whole one would be half of it or all."""
    if seconds is None:
        return None
    step = 0.1 if seconds < 2 else 1 if seconds < 20 else 5 if seconds < 120 else 30
    return round(step * math.floor(seconds / step + 0.5), 1)
