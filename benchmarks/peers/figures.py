"""What was measured, medians over rounds, and how contestants stand to each other."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields

OURS = "cluster"
STOCK = "aiortc"
TO_REACH = 2.0
"""How many times the cluster's CPU stock aiortc takes for the viewers of one session."""
ALIKE = 0.9
"""What is sent has to be this near to what is sent elsewhere to be compared with it."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One measurement, or the median of several.

    CPU in seconds per second of video that a viewer received: of the processes that carry media, and of all.
    """

    cpu: float
    cpu_all: float
    fps: float
    """Of the median viewer."""
    least_fps: float
    """Of the viewer with the fewest."""
    mbit_s: float
    """Received by one viewer, with all headers below UDP's."""
    age_p50_ms: float
    """From a picture's making to its leaving the client's decoder."""
    age_p95_ms: float
    frozen_s: float
    """Sum of the gaps of more than a picture and 150 ms, per minute."""
    connected_ms: float
    """From asking for the session to open data channels."""
    first_ms: float
    """... to the first picture decoded."""


Key = tuple[str, int]
"""Contestant and viewers."""


def middle(samples: Sequence[Figures]) -> Figures:
    """The median of each figure."""
    return Figures(
        **{each.name: statistics.median(getattr(one, each.name) for one in samples) for each in fields(Figures)}
    )


def median_of_rounds(samples: Iterable[tuple[Key, Figures]]) -> dict[Key, Figures]:
    """By contestant and viewers, in the order of the first round."""
    collected: dict[Key, list[Figures]] = {}
    for key, one in samples:
        collected.setdefault(key, []).append(one)
    return {key: middle(several) for key, several in collected.items()}


def for_each_more(found: Mapping[Key, Figures], key: Key) -> float | None:
    """Media CPU that each viewer beyond the fewest has cost, in s per s of video.

    None for the fewest, and where not as much was sent to each as then.
    """
    name, viewers = key
    fewest = min(count for each, count in found if each == name)
    now, then = found[key], found[name, fewest]
    if viewers == fewest or not ALIKE <= now.mbit_s / then.mbit_s <= 1 / ALIKE:
        return None
    return (now.cpu - then.cpu) / (viewers - fewest)


def ratios(found: Mapping[Key, Figures], name: str) -> dict[int, tuple[float, float]]:
    """By viewers: a peer's CPU in the cluster's, by the processes that carry media and by all.

    Only where the cluster has sent as much, or nearly: less is cheaper.
    """
    counts = [count for each, count in found if each == name and (OURS, count) in found]
    pairs = [(count, found[name, count], found[OURS, count]) for count in counts]
    alike = [pair for pair in pairs if pair[2].mbit_s >= ALIKE * pair[1].mbit_s]
    return {count: (peer.cpu / ours.cpu, peer.cpu_all / ours.cpu_all) for count, peer, ours in alike}


def reached(found: Mapping[Key, Figures]) -> bool:
    """Whether stock aiortc's media process takes `TO_REACH` times the CPU of the cluster's for the most viewers."""
    most = max((count for name, count in found if name == STOCK), default=0)
    media, _ = ratios(found, STOCK).get(most, (0.0, 0.0))
    return media >= TO_REACH


def as_json(found: Mapping[Key, Figures]) -> list[dict[str, object]]:
    """One object for each contestant and number of viewers."""
    return [{"contestant": name, "viewers": count, **asdict(one)} for (name, count), one in found.items()]
