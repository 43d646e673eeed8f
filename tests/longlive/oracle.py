"""Golden files of any size, made by a second derivation: a plain loop over the calls, a window that is a list of
chunks, and the sampler stepped as it is published. Of the engine only the networks are used."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from math import sqrt
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import save_file
from stepped import unipc
from torch import Tensor, nn

from wan.attention import KeysValues
from wan.causal import Past
from wan.configs import DiTConfig, UMT5Config, VAEConfig
from wan.dit import DiT
from wan.rope import Rope
from wan.umt5 import UMT5
from wan.vae22 import VAE

CUT = "The scene transitions. "

Net = TypeVar("Net", bound=nn.Module)


@dataclass(frozen=True)
class Clip:
    """What a file of the transformer is asked for; its sizes are all unlike those of the golden files."""

    prompts: tuple[str, ...] = ("a", "a", CUT + "b", "b", "b", "b", CUT + "c", "c")
    heads: int = 3
    head_dim: int = 14
    ffn: int = 20
    layers: int = 2
    text_dim: int = 7
    text_len: int = 5
    freq_dim: int = 10
    ch: int = 5
    H: int = 6
    W: int = 2
    nfpb: int = 3
    local: int = 12
    sink: int = 3
    phi: float = 8
    multi_shot: bool = True
    sampling_steps: int = 3
    cfg: float = 1.0
    i2v: bool = False
    batch: int = 1
    negative_key: str = "in/neg_embed"
    image_shape: tuple[int, ...] = (1, 1, 5, 6, 2)

    @property
    def dit_config(self) -> DiTConfig:
        return DiTConfig(
            dim=self.heads * self.head_dim,
            ffn_dim=self.ffn,
            heads=self.heads,
            layers=self.layers,
            text_dim=self.text_dim,
            text_len=self.text_len,
            freq_dim=self.freq_dim,
            channels=self.ch,
        )

    def config(self, **more: Any) -> dict[str, Any]:
        names = ("heads", "head_dim", "ffn", "layers", "text_dim", "text_len", "freq_dim", "ch", "H", "W")
        return {name: getattr(self, name) for name in (*names, "nfpb", "local", "sink")} | more

    @property
    def latents(self) -> tuple[int, int, int, int]:
        return self.nfpb, self.ch, self.H, self.W


@dataclass
class Window:
    """All that every chunk left behind, of which some is visible."""

    kept: dict[tuple[int, int], KeysValues] = field(default_factory=dict)
    chunk: int = 0
    visible: tuple[int, ...] = (0,)

    def put(self, layer: int, keys: Tensor, values: Tensor) -> KeysValues:
        self.kept[self.chunk, layer] = keys.clone(), values.clone()
        parts = [self.kept[chunk, layer] for chunk in self.visible]
        return torch.cat([keys for keys, _ in parts]), torch.cat([values for _, values in parts])


def visible(chunk: int, cuts: list[bool], slots: int) -> tuple[int, ...]:
    """The policy in its own words: arriving beyond the last slot pushes out the oldest chunk that is neither the first
    nor the one that began the present shot, which counts from its own end on; for want of another, the newest."""
    held: list[int] = []
    pinned: int | None = None
    for arriving in range(chunk + 1):
        if len(held) == slots:
            held.remove(next((old for old in held if old not in (0, pinned)), held[-1]))
        held.append(arriving)
        pinned = arriving if cuts[arriving] else pinned
    return tuple(held)


@torch.inference_mode()
def rollout(path: Path, clip: Clip, seed: int = 0) -> None:
    """A rollout file."""
    torch.manual_seed(seed)
    dit = randomised(DiT(clip.dit_config))
    unique = list(dict.fromkeys(clip.prompts))
    tensors = {f"w/model.{name}": value for name, value in dit.state_dict().items()}
    tensors["in/noise"] = torch.randn(clip.batch, len(clip.prompts) * clip.nfpb, *clip.latents[1:])
    embeddings = [f"in/prompt_embed/{i}" for i in range(len(unique))]
    for key in (*embeddings, *([clip.negative_key] if clip.cfg != 1 else [])):
        tensors[key] = torch.randn(clip.text_len, clip.text_dim)
    image = torch.randn(clip.latents[1:]) if clip.i2v else None
    if image is not None:
        tensors["in/initial_latent"] = image.reshape(clip.image_shape).clone()
    latents, calls, flows = [], [], []
    for entry in range(clip.batch):
        made = _Oracle(dit, clip, tensors)
        latents.append(made.run(tensors["in/noise"][entry], dict(zip(unique, embeddings, strict=True)), image))
        calls, flows = made.calls, [*flows, made.flows]
    tensors["out/latents"] = torch.stack(latents)
    for i, entries in enumerate(zip(*flows, strict=True)):
        tensors[f"call/{i:04d}/flow"] = torch.stack(entries)
    own = ("phi", "multi_shot", "sampling_steps", "cfg", "i2v")
    more = {name: getattr(clip, name) for name in own} | {"relative_rope": False, "dtype": "torch.float32"}
    prompts = {"prompts": clip.prompts, "unique_prompts": unique, "n_chunks": len(clip.prompts)}
    write(path, tensors, clip.config(**more, **prompts, calls=calls))


class _Oracle:
    """The loop over the calls of one clip."""

    def __init__(self, dit: DiT, clip: Clip, tensors: dict[str, Tensor]) -> None:
        self.dit, self.clip, self.tensors = dit, clip, tensors
        self.rope = Rope(clip.head_dim, clip.H // 2, clip.W // 2)
        self.windows = {False: Window(), True: Window()}
        self.calls: list[dict[str, Any]] = []
        self.flows: list[Tensor] = []

    def run(self, noise: Tensor, embeddings: dict[str, str], image: Tensor | None) -> Tensor:
        clip, chunks, shot = self.clip, [], 0
        cuts = [k > 0 and prompt.startswith(CUT) for k, prompt in enumerate(clip.prompts)]
        pins = cuts if clip.multi_shot else [False] * len(cuts)
        for k, prompt in enumerate(clip.prompts):
            shot += cuts[k]
            for window in self.windows.values():
                window.chunk, window.visible = k, visible(k, pins, clip.local // clip.nfpb)
            given = image[None] if image is not None and k == 0 else None
            here = clip.nfpb * k, clip.phi * shot, embeddings[prompt]

            def flow(x: Tensor, t: int, here: Any = here, given: Tensor | None = given) -> Tensor:
                times = torch.full((clip.nfpb,), float(t))
                times[:1] = times[:1] if given is None else 0
                return self._guided(x, times, *here)

            x = unipc(flow, noise[clip.nfpb * k :][: clip.nfpb], clip.sampling_steps, given)[-1]
            self._guided(x, torch.zeros(clip.nfpb), *here)
            chunks.append(x)
        return torch.cat(chunks)

    def _guided(self, x: Tensor, times: Tensor, first: int, shift: float, key: str) -> Tensor:
        positive = self._call(x, times, first, shift, key, negative=False)
        if self.clip.cfg == 1:
            return positive
        negative = self._call(x, times, first, shift, self.clip.negative_key, negative=True)
        return negative + self.clip.cfg * (positive - negative)

    def _call(self, x: Tensor, times: Tensor, first: int, shift: float, key: str, *, negative: bool) -> Tensor:
        text = self.dit.encode_text(self.tensors[key])
        rotations = self.rope.at(first + shift, self.clip.nfpb)
        flow = self.dit(x, times, text, rotations, self.windows[negative])
        self.calls.append({"i": len(self.calls), "neg": negative, "clean": not times.any(), "t": times.tolist()})
        self.flows.append(flow)
        return flow


@torch.inference_mode()
def dit(path: Path, clip: Clip, chunks: int, timesteps: tuple[float, ...]) -> None:
    """A file of the transformer alone, whose frames have timesteps of their own."""
    torch.manual_seed(1)
    net = randomised(DiT(clip.dit_config))
    tensors = {f"w/model.{name}": value for name, value in net.state_dict().items()}
    tensors["in/ctx"] = torch.randn(clip.batch, clip.text_len - 1, clip.text_dim)
    rope = Rope(clip.head_dim, clip.H // 2, clip.W // 2)
    windows = [Window() for _ in range(clip.batch)]
    for call in range(chunks * len(timesteps)):
        k, name = call // len(timesteps), f"{call:03d}"
        x = tensors[f"in/{name}/x"] = torch.randn(clip.batch, *clip.latents)
        t = tensors[f"in/{name}/t"] = timesteps[call % len(timesteps)] * torch.rand(clip.batch, clip.nfpb)
        flows = []
        for entry, window in enumerate(windows):
            window.chunk, window.visible = k, visible(k, [False] * chunks, clip.local // clip.nfpb)
            text = net.encode_text(tensors["in/ctx"][entry])
            flows.append(net(x[entry], t[entry], text, rope.at(clip.nfpb * k, clip.nfpb), window))
        tensors[f"out/{name}/flow"] = torch.stack(flows)
    write(path, tensors, clip.config(chunks=chunks, timesteps=timesteps))


def sampler(path: Path, *counts: int) -> None:
    """A sampler file of so many steps, each."""
    torch.manual_seed(2)
    tensors, config = {}, {}
    for steps in counts:
        x, flows = torch.randn(1, 2, 3), torch.randn(steps, 1, 2, 3)
        tensors |= {f"in/{steps}/x": x, **{f"in/{steps}/flow{i}": flow.clone() for i, flow in enumerate(flows)}}
        queue, timesteps = iter(flows.double()), []

        def predict(x: Tensor, t: int, queue: Any = queue, timesteps: list[int] = timesteps) -> Tensor:
            timesteps.append(t)
            return next(queue)

        states = unipc(predict, x.double(), steps, None)
        tensors |= {f"out/{steps}/x{i}": state.float() for i, state in enumerate(states)}
        config[str(steps)] = {"timesteps": timesteps}
    write(path, tensors, config)


@torch.inference_mode()
def vae(path: Path) -> None:
    """A VAE file of three streams' parts, one part of the stream left out; decoded latent by latent."""
    torch.manual_seed(3)
    config = VAEConfig((0.1,) * 6, (0.7,) * 6, 4, 8, (1, 1, 2, 2), 1, 2, 6)
    net = randomised(VAE(config))
    latents, pixels = torch.randn(2, 7, 6, 2, 1), torch.rand(2, 3, 9, 32, 16) * 2 - 1

    def decoded(start: int, end: int, clip: Tensor) -> Tensor:
        past = Past()
        return torch.cat([net.decode(latent, past) for latent in clip[start:end].split(1)])

    whole = torch.stack([decoded(0, 7, clip) for clip in latents]).transpose(1, 2)
    tensors = {f"w/{name}": value for name, value in net.state_dict().items()} | {
        "in/latents": latents,
        "in/pixels": pixels,
        "in/mean": torch.tensor(config.mean),
        "in/std": torch.tensor(config.std),
        "out/stream/0": whole[:, :, :5],
        "out/stream/3": whole[:, :, 9:25],
        "out/fresh/2": torch.stack([decoded(2, 5, clip) for clip in latents]),
        "out/encode": torch.stack([net.encode(clip.transpose(0, 1)) for clip in pixels]),
    }
    write(path, tensors, {"dim": 4, "dec_dim": 8, "z_dim": 6, "dim_mult": [1, 1, 2, 2], "num_res_blocks": 1})


@torch.inference_mode()
def text(path: Path) -> None:
    """A text encoder file: one prompt padded, one full."""
    torch.manual_seed(4)
    net = randomised(UMT5(UMT5Config(11, 6, 12, 9, 3, 2, 8, 20)))
    ids, mask = torch.randint(11, (2, 9)), torch.ones(2, 9, dtype=torch.int64)
    mask[0, 4:] = 0
    embeddings = torch.zeros(2, 9, 6)
    embeddings[0, :4], embeddings[1] = net(ids[0, :4]), net(ids[1])
    tensors = {f"w/{name}": value for name, value in net.state_dict().items()}
    tensors |= {"in/ids": ids, "in/mask": mask, "out/prompt_embeds": embeddings}
    sizes = {"vocab": 11, "dim": 6, "dim_attn": 12, "dim_ffn": 9, "num_heads": 3, "num_layers": 2}
    write(path, tensors, sizes | {"num_buckets": 8, "max_dist": 20})


def randomised(net: Net) -> Net:
    """Weights of unit gain, everywhere."""
    for weight in net.parameters():
        nn.init.normal_(weight, std=1 / sqrt(weight[0].numel()) if weight.dim() > 1 else 1)
    return net.requires_grad_(False)


def write(path: Path, tensors: dict[str, Tensor], config: object) -> None:
    metadata = {"config": json.dumps(config)}
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path, metadata)
