"""Files of the transformer alone: latents and timesteps in, flows out, over a window that the calls themselves fill."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from longlive.cache import KVCache
from longlive.parity.difference import Difference, compare
from longlive.parity.golden import CannotCheck, Golden
from longlive.parity.transformer import Clip, clip, embedding, load
from wan.dit import DiT
from wan.rope import Rope


def differences(golden: Golden) -> Iterator[Difference]:
    """Of `out/NNN/flow`: a chunk is called once per timestep of the config, and its last call stays in the window."""
    plan = clip(golden, golden.size("chunks"))
    inputs = golden.numbered(r"in/(\d+)/x")
    calls = len(golden.setting("timesteps", list))
    if list(inputs) != list(range(plan.chunks * calls)):
        raise CannotCheck(f"it has {len(inputs)} inputs for {plan.chunks} chunks of {calls} calls")
    dit = load(golden, DiT)
    batch = golden.shaped(inputs[0], None, *plan.shape).shape[0]
    entries = [list(_flows(golden, dit, plan, calls, entry)) for entry in range(batch)]
    for key, flows in zip(inputs.values(), zip(*entries, strict=True), strict=True):
        name = key.removeprefix("in/").removesuffix("/x")
        yield compare(golden, f"out/{name}/flow", torch.stack(flows))


def _flows(golden: Golden, dit: DiT, plan: Clip, calls: int, entry: int) -> Iterator[Tensor]:
    """Of one entry of the batch, in the order of the calls."""
    text = dit.encode_text(embedding(golden, "in/ctx", entry))
    rope = Rope(dit.config.head_dim, *plan.grid)
    window = KVCache(dit.config, plan.tokens, "cpu", torch.float32, plan.slots)
    for number, key in golden.numbered(r"in/(\d+)/x").items():
        chunk, call = divmod(number, calls)
        if call == 0:
            window.enter(chunk)
        x = golden.shaped(key, None, *plan.shape)[entry]
        timesteps = golden.shaped(f"{key.removesuffix('x')}t", None, plan.frames)[entry]
        yield dit(x, timesteps, text, rope.at(plan.frames * chunk, plan.frames), window)
