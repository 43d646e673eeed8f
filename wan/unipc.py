"""UniPC for flow matching, as a linear recipe.

The multistep predictor-corrector (order 2, variant bh2, clean-sample prediction, lower order at the end) is
deterministic and linear in the initial noise and the predicted clean samples. So the state after step i is a row of
constants:

    x_{i+1} = row[0]*noise + row[1]*clean_0 + ... + row[i+1]*clean_i,   clean_i = x_i - sigma_i * flow_i

Formulas: Zhao et al., "UniPC: A Unified Predictor-Corrector Framework for Fast Sampling of Diffusion Models" (2023),
equations for data prediction with B(h) = exp(h) - 1; in flow matching alpha = 1 - sigma.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import expm1, floor, log

from torch import Tensor

Row = tuple[float, ...]

TRAIN_TOP = 0.999
"""The largest noise level of the 1000-step training table, before the shift."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Timesteps given to the model, noise levels (one more, ending in 0) and the rows of constants."""

    timesteps: tuple[int, ...]
    sigmas: tuple[float, ...]
    rows: tuple[Row, ...]


def recipe(steps: int, shift: float = 5.0) -> Recipe:
    """The recipe of `steps` steps. The model sees floor(1000*sigma); sigma itself stays as it is."""
    levels = [TRAIN_TOP * (1 - j / steps) for j in range(steps)]
    sigmas = (*(shift * s / (1 + (shift - 1) * s) for s in levels), 0.0)
    return Recipe(tuple(floor(1000 * s) for s in sigmas[:-1]), sigmas, tuple(_rows(sigmas)))


def sample(
    predict: Callable[[Tensor, int], Tensor],
    noise: Tensor,
    recipe: Recipe,
    clamp: Callable[[Tensor], Tensor] = lambda x: x,
) -> Tensor:
    """Run the recipe: `predict(x, timestep)` is the flow. Returns the clean sample, in noise's shape.

    `clamp` is applied to the state before the first step and after each: it puts back what is given.
    """
    x = clamp(noise)
    clean: list[Tensor] = []
    for timestep, sigma, row in zip(recipe.timesteps, recipe.sigmas, recipe.rows, strict=False):
        clean.append(x - sigma * predict(x, timestep))
        x = clamp(combine(row, noise, clean))
    return x


def combine(row: Row, noise: Tensor, clean: list[Tensor]) -> Tensor:
    """The weighted sum that a row prescribes; zero weights cost nothing."""
    terms = [weight * part for weight, part in zip(row, [noise, *clean], strict=True) if weight]
    return sum(terms[1:], terms[0])


def _rows(sigmas: Row) -> list[Row]:
    """Symbolic run of the solver: a vector holds the weights of (noise, clean_0, clean_1, ...)."""
    steps = len(sigmas) - 1
    size = steps + 1
    clean = [_unit(size, i + 1) for i in range(steps)]
    x = _unit(size, 0)
    before = x
    rows = []
    for i in range(steps):
        if i:
            x = _correct(sigmas, i, before, clean)
        before = x
        x = _predict(sigmas, i, x, clean)
        rows.append(tuple(x[: i + 2]))
    return rows


def _predict(sigmas: Row, i: int, x: Row, clean: list[Row]) -> Row:
    """From level i to level i+1; first order at both ends of the run, second order between."""
    if sigmas[i + 1] == 0:
        return clean[i]
    h = _step(sigmas, i, i + 1)
    weights = [(sigmas[i + 1] / sigmas[i], x), (-(1 - sigmas[i + 1]) * expm1(-h), clean[i])]
    if 0 < i < len(sigmas) - 2:
        slope = -(1 - sigmas[i + 1]) * expm1(-h) * 0.5 / (_step(sigmas, i, i - 1) / h)
        weights += [(slope, clean[i - 1]), (-slope, clean[i])]
    return _sum(weights)


def _correct(sigmas: Row, i: int, x: Row, clean: list[Row]) -> Row:
    """The step from level i-1 to level i again, now that clean_i is known; first order for the first step."""
    h = _step(sigmas, i - 1, i)
    growth = -(1 - sigmas[i]) * expm1(-h)
    weights = [(sigmas[i] / sigmas[i - 1], x), (growth, clean[i - 1])]
    if i == 1:
        return _sum([*weights, (0.5 * growth, clean[i]), (-0.5 * growth, clean[i - 1])])
    ratio = _step(sigmas, i - 1, i - 2) / h
    first = _phi(-h) / expm1(-h)
    second = 2 * (_phi(-h) / -h - 0.5) / expm1(-h)
    # rho solves [[1, 1], [ratio, 1]] rho = (first, second)
    old = (first - second) / (1 - ratio)
    new = first - old
    return _sum(
        [
            *weights,
            (growth * old / ratio, clean[i - 2]),
            (-growth * old / ratio, clean[i - 1]),
            (growth * new, clean[i]),
            (-growth * new, clean[i - 1]),
        ]
    )


def _phi(z: float) -> float:
    return expm1(z) / z - 1


def _step(sigmas: Row, start: int, end: int) -> float:
    """Difference of log((1-sigma)/sigma) between two levels."""
    return log((1 - sigmas[end]) / sigmas[end]) - log((1 - sigmas[start]) / sigmas[start])


def _unit(size: int, index: int) -> Row:
    return tuple(float(j == index) for j in range(size))


def _sum(weighted: list[tuple[float, Row]]) -> Row:
    return tuple(sum(weight * row[j] for weight, row in weighted) for j in range(len(weighted[0][1])))
