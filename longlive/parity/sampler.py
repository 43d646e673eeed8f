"""Files of the sampler: noise and flows in, the state after each step out, for several numbers of steps."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from longlive.parity.difference import Difference, compare, difference
from longlive.parity.golden import CannotCheck, Golden
from wan.unipc import recipe, sample


def differences(golden: Golden) -> Iterator[Difference]:
    """Of `out/<steps>/x<step>`, and of the timesteps and noise levels that the config lists."""
    for steps, key in golden.numbered(r"in/(\d+)/x").items():
        flows = golden.numbered(rf"in/{steps}/flow(\d+)")
        if not steps or list(flows) != list(range(steps)):
            raise CannotCheck(f"{steps} steps have the flows {list(flows)}")
        noise = golden[key]
        states, timesteps = _run(noise, [golden.shaped(flow, *noise.shape) for flow in flows.values()])
        for step, state in enumerate(states):
            yield compare(golden, f"out/{steps}/x{step}", state)
        yield from _levels(golden, steps, timesteps)


def _run(noise: Tensor, flows: list[Tensor]) -> tuple[list[Tensor], list[int]]:
    """The states after each step, and the timesteps that the model is shown."""
    states: list[Tensor] = []
    timesteps: list[int] = []

    def predict(x: Tensor, timestep: int) -> Tensor:
        states.append(x)
        timesteps.append(timestep)
        return flows[len(states) - 1]

    last = sample(predict, noise, recipe(len(flows)))
    return [*states[1:], last], timesteps


def _levels(golden: Golden, steps: int, timesteps: list[int]) -> Iterator[Difference]:
    listed = golden.setting(str(steps), dict)
    for name, ours in (("timesteps", timesteps), ("sigmas", recipe(steps).sigmas)):
        theirs = listed.get(name, ours)
        if not all(isinstance(value, (int, float)) for value in theirs):
            raise CannotCheck(f"its config has {name} of {steps} steps that are not numbers")
        here, there = (torch.tensor(values, dtype=torch.float64) for values in (ours, theirs))
        yield difference(f"config/{steps}/{name}", here, there)
