"""Checks one golden file, whose kind its keys tell."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from longlive.parity import dit, rollout, sampler, text, vae
from longlive.parity.difference import Difference
from longlive.parity.golden import CannotCheck, Golden

Checker = Callable[[Golden], Iterator[Difference]]

KINDS: dict[str, tuple[Checker, tuple[str, ...]]] = {
    "sampler": (sampler.differences, (r"in/\d+/x", r"in/\d+/flow0")),
    "rollout": (rollout.differences, (r"in/noise", r"in/prompt_embed/\d+", r"w/.*patch_embedding\.weight")),
    "dit": (dit.differences, (r"in/ctx", r"in/\d+/x", r"in/\d+/t", r"w/.*patch_embedding\.weight")),
    "vae": (vae.differences, (r"in/(latents|pixels)", r"w/(decoder|encoder)\..*")),
    "text encoder": (text.differences, (r"in/ids", r"w/token_embedding\.weight")),
}
"""What checks each kind, and patterns each of which some key of such a file is."""

DTYPES = ("torch.float32", "torch.float64")


@dataclass(frozen=True, slots=True)
class Report:
    """What a file is, how far each of its outputs is off, and the outputs for which there was nothing to compare."""

    kind: str
    differences: tuple[Difference, ...]
    unchecked: tuple[str, ...]

    @property
    def failing(self) -> tuple[Difference, ...]:
        """Those above the bound."""
        return tuple(difference for difference in self.differences if not difference.passes)


@torch.inference_mode()
def check(path: Path) -> Report:
    """Compute the outputs of a golden file again and compare them.

    Raises:
        CannotCheck: the file is not of the contract, or asks for what this engine does not do.
    """
    golden = Golden(path)
    kind, checker = _kind(golden)
    dtype = golden.setting("dtype", str, DTYPES[0])
    if dtype not in DTYPES:
        raise CannotCheck(f"it was computed in {dtype}; only {' and '.join(DTYPES)} can be compared")
    differences = tuple(checker(golden))
    compared = {difference.key for difference in differences}
    outputs = (key for key in golden.names if key.startswith(("out/", "call/")))
    unchecked = tuple(key for key in outputs if key not in compared)
    if not differences:
        raise CannotCheck("it has no outputs that can be compared")
    return Report(kind, differences, unchecked)


def _kind(golden: Golden) -> tuple[str, Checker]:
    for kind, (checker, patterns) in KINDS.items():
        if all(any(re.fullmatch(pattern, key) for key in golden.names) for pattern in patterns):
            return kind, checker
    raise CannotCheck(f"its keys are those of none of {', '.join(KINDS)}")
