"""Files of whole clips: noise and text embeddings in, latents out, and the flow of every call on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from longlive.cache import KVCache
from longlive.parity.difference import Difference, compare
from longlive.parity.golden import CannotCheck, Golden
from longlive.parity.guided import GuidedDiT
from longlive.parity.transformer import Clip, clip, embedding, is_embedding, load
from longlive.prompts import TRANSITION
from longlive.rollout import Rollout
from wan.attention import KeysValues
from wan.unipc import recipe

SHARED_SLOTS = 2
"""In a window of so many chunks the first chunk and the current one leave no room for a pinned one."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a file asks for: the clip and the prompt of each chunk; the embedding of each prompt, by key."""

    clip: Clip
    prompts: tuple[str, ...]
    embeddings: dict[str, str]


def differences(golden: Golden) -> Iterator[Difference]:
    """Of `out/latents`, and of `call/NNNN/flow` if the file has them."""
    plan = _plan(golden)
    shape = (plan.clip.chunks * plan.clip.frames, *plan.clip.shape[1:])
    batch = golden.shaped("in/noise", None, *shape).shape[0]
    dit = load(golden, lambda config: GuidedDiT(config, golden.setting("cfg", float, 1.0)))
    latents: list[Tensor] = []
    flows: list[list[Tensor]] = []
    for entry in range(batch):
        latents.append(_run(golden, dit, plan, entry))
        flows.append(_in_order(golden, dit.flows))
        dit.flows = []
    yield compare(golden, "out/latents", torch.stack(latents))
    names = golden.numbered(r"call/(\d+)/flow")
    if names:
        for number, entries in enumerate(zip(*flows, strict=True)):
            yield compare(golden, names.get(number, f"call/{number:04d}/flow"), torch.stack(entries))


def _plan(golden: Golden) -> Plan:
    if golden.setting("relative_rope", bool, False):
        raise CannotCheck("its config has relative_rope: this engine's positions are absolute")
    prompts, unique = golden.setting("prompts", list), golden.setting("unique_prompts", list)
    if not prompts or not all(isinstance(prompt, str) for prompt in (*prompts, *unique)):
        raise CannotCheck("its config has prompts that are not one text per chunk")
    if golden.setting("n_chunks", int, len(prompts)) != len(prompts):
        raise CannotCheck(f"its config has {len(prompts)} prompts for {golden.size('n_chunks')} chunks")
    if missing := set(prompts) - set(unique):
        raise CannotCheck(f"its config has prompts without an embedding: {sorted(missing)}")
    embeddings = {prompt: f"in/prompt_embed/{unique.index(prompt)}" for prompt in prompts}
    return Plan(clip(golden, len(prompts)), tuple(prompts), embeddings)


def _run(golden: Golden, dit: GuidedDiT, plan: Plan, entry: int) -> Tensor:
    """The latents of one entry of the batch; the flows are left in the transformer."""
    rollout = _rollout(golden, dit, plan.clip)
    texts = {key: dit.encode_text(embedding(golden, key, entry)) for key in plan.embeddings.values()}
    dit.negative = _negative(golden, dit, plan, entry)
    image = _image(golden, plan.clip, entry)
    chunks: list[Tensor] = []
    for chunk, noise in enumerate(torch.unflatten(golden["in/noise"][entry], 0, (plan.clip.chunks, -1))):
        prompt = plan.prompts[chunk]
        rollout.begin(texts[plan.embeddings[prompt]], starts_shot=chunk > 0 and prompt.startswith(TRANSITION))
        latents = rollout.sample(noise, image if chunk == 0 else None)
        rollout.commit(latents)
        chunks.append(latents)
    return torch.cat(chunks)


def _rollout(golden: Golden, dit: GuidedDiT, clip: Clip) -> Rollout:
    """An empty one, as the config says."""
    rollout = Rollout(
        dit,
        recipe(golden.size("sampling_steps")),
        clip.grid,
        clip.frames,
        slots=clip.slots,
        shot_stride=golden.setting("phi", float),
        pins=golden.setting("multi_shot", bool) and clip.slots > SHARED_SLOTS,
    )
    if dit.guidance != 1:
        both = replace(dit.config, layers=2 * dit.config.layers)
        rollout.cache = KVCache(both, clip.tokens, "cpu", torch.float32, clip.slots)
    return rollout


def _negative(golden: Golden, dit: GuidedDiT, plan: Plan, entry: int) -> list[KeysValues] | None:
    """The text to guide away from, if there is guidance: the one embedding that is not of a chunk's prompt, if need be
    one of an unused prompt."""
    if dit.guidance == 1:
        return None
    prompts = set(plan.embeddings.values())
    others = [key for key in golden.names if key.startswith("in/") and key not in prompts]
    found = [key for key in others if is_embedding(golden, golden[key])]
    found = [key for key in found if not key.startswith("in/prompt_embed/")] or found
    if len(found) != 1:
        raise CannotCheck(f"its config has cfg {dit.guidance}, and of negative embeddings it has {found or 'none'}")
    return dit.encode_text(embedding(golden, found[0], entry))


def _image(golden: Golden, clip: Clip, entry: int) -> Tensor | None:
    """The given first latent frame [1, channels, height, width], if the clip starts from an image: the one input that
    is a single frame, with or without dimensions of one for the batch and the time."""
    if not golden.setting("i2v", bool, False):
        return None
    frame = clip.shape[1:]
    inputs = {key: golden[key] for key in golden.names if key.startswith("in/") and key != "in/noise"}
    entries = {key: x[entry if len(x) > 1 else 0] if x.dim() == 5 else x for key, x in inputs.items()}
    shapes = (frame, (1, *frame), (frame[0], 1, *frame[1:]))
    found = [key for key, x in entries.items() if tuple(x.shape) in shapes]
    if len(found) != 1:
        raise CannotCheck(f"its config has i2v, and of single latent frames it has {found or 'none'}")
    return entries[found[0]].reshape(1, *frame)


def _in_order(golden: Golden, flows: list[tuple[bool, Tensor]]) -> list[Tensor]:
    """The flows in the order in which the config lists the calls; without a list, in which they were made."""
    calls = golden.setting("calls", list, [])
    if not all(isinstance(call, dict) for call in calls):
        raise CannotCheck("its config lists calls that are not JSON objects")
    if not calls:
        return [flow for _, flow in flows]
    negative = [bool(call.get("neg", False)) for call in calls]
    if sorted(negative) != sorted(of_negative for of_negative, _ in flows):
        raise CannotCheck(f"its config lists {len(calls)} calls, {sum(negative)} negative; {len(flows)} are made")
    queues = {side: iter([flow for of, flow in flows if of is side]) for side in (False, True)}
    return [next(queues[side]) for side in negative]
