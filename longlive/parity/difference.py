"""How far an output is from the reference's."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from torch import Tensor

from longlive.parity.golden import Golden

BOUND = 1e-4
"""Largest absolute difference that passes; the reference's own noise, float32 against float64, is at most 1.3e-5."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Of one output: its largest absolute difference, infinite where there is a `problem`; and a `remark` to print."""

    key: str
    largest: float
    problem: str = ""
    remark: str = ""

    @property
    def passes(self) -> bool:
        """Whether it is within the bound."""
        return self.largest <= BOUND


def compare(golden: Golden, key: str, ours: Tensor, where: Tensor | None = None, remark: str = "") -> Difference:
    """Our output against the file's, or only the entries that the mask `where` (of the leading dimensions) selects."""
    if key not in golden:
        return Difference(key, inf, "missing from the file")
    return difference(key, ours, golden[key], where, remark)


def difference(key: str, ours: Tensor, theirs: Tensor, where: Tensor | None = None, remark: str = "") -> Difference:
    """Like `compare`, against a tensor at hand."""
    if ours.shape != theirs.shape:
        return Difference(key, inf, f"{list(theirs.shape)} in the file, {list(ours.shape)} here")
    if where is not None:
        ours, theirs = ours[where], theirs[where]
    gap = (ours.double() - theirs.double()).abs()
    if not gap.isfinite().all():
        return Difference(key, inf, "not finite")
    return Difference(key, float(gap.max()) if gap.numel() else 0.0, remark=remark)
