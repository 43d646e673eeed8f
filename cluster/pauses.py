"""A process that answers many at a time makes none of them wait for its own affairs."""

from __future__ import annotations

import gc
import sys

GC_THRESHOLDS = (2_000, 5, 2_000)
"""With Python's own (700, 10, 10) all objects are looked at every few seconds: with 2000 streams open that takes 0.9 s,
in which nothing is answered. Here only young ones are, 10,000 at most, which takes some 15 ms; nearly all garbage is
freed without the collector."""

SWITCH_S = 0.0005
"""How long a thread of Ray keeps the GIL from the one that answers: Python's own 5 ms, at each of the many short calls
that let go of it, add up to the longest waits of all."""


def keep_short() -> None:
    """Call it once all that lives as long as the process is there: the collector passes over it from now on."""
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    sys.setswitchinterval(SWITCH_S)
