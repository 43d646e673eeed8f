"""UniPC stepped as it is published, tensor by tensor; the engine's is a table of constants."""

from __future__ import annotations

from collections.abc import Callable
from math import expm1, log

import torch
from torch import Tensor


def unipc(predict: Callable[[Tensor, int], Tensor], x: Tensor, steps: int, given: Tensor | None) -> list[Tensor]:
    """The states after each step of UniPC (order 2, bh2, prediction of the clean sample), with frame 0 overwritten by
    what is given."""
    levels = [5 * s / (1 + 4 * s) for s in (0.999 * (1 - i / steps) for i in range(steps))]

    def noise_ratio(i: int) -> float:
        return log((1 - levels[i]) / levels[i])

    clean: list[Tensor] = []
    states: list[Tensor] = []
    before, order = x, 1
    for i, sigma in enumerate(levels):
        x = x if given is None else torch.cat([given, x[1:]])
        clean.append(x - sigma * predict(x, int(1000 * sigma)))
        if i:
            x = _correct(before, clean, order, levels, noise_ratio, i)
        before, order = x, min(2, steps - i, i + 1)
        if i + 1 == steps:
            x = clean[i]
        else:
            h = noise_ratio(i + 1) - noise_ratio(i)
            growth = (1 - levels[i + 1]) * expm1(-h)
            x = levels[i + 1] / sigma * before - growth * clean[i]
            if order == 2:
                slope = (clean[i - 1] - clean[i]) / ((noise_ratio(i - 1) - noise_ratio(i)) / h)
                x = x - growth * 0.5 * slope
        states.append(x if given is None else torch.cat([given, x[1:]]))
        x = states[-1]
    return states


def _correct(
    before: Tensor, clean: list[Tensor], order: int, levels: list[float], ratio: Callable[[int], float], i: int
) -> Tensor:
    h = ratio(i) - ratio(i - 1)
    growth = (1 - levels[i]) * expm1(-h)
    x = levels[i] / levels[i - 1] * before - growth * clean[i - 1]
    new = clean[i] - clean[i - 1]
    if order == 1:
        return x - growth * 0.5 * new
    far = (ratio(i - 2) - ratio(i - 1)) / h
    first = expm1(-h) / -h - 1
    second = first / -h - 0.5
    matrix = torch.tensor([[1.0, 1.0], [far, 1.0]], dtype=torch.float64)
    right = torch.tensor([first, 2 * second], dtype=torch.float64) / expm1(-h)
    rho = torch.linalg.solve(matrix, right).tolist()
    return x - growth * (rho[0] * (clean[i - 2] - clean[i - 1]) / far + rho[1] * new)
