"""No released vector pins TAEW2.2 down, so it is held against a second, frame-by-frame reading of its description."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from tests.support.checkpoints import blank
from wan.causal import Past
from wan.configs import TinyVAEConfig
from wan.taew22 import TinyVAE

pytestmark = pytest.mark.fast

CONFIG = TinyVAEConfig(widths=(12, 8, 6, 4))


@pytest.fixture(scope="module")
def vae() -> TinyVAE:
    made = blank(CONFIG).to_empty(device="cpu").requires_grad_(False)
    generator = torch.Generator().manual_seed(3)
    for weight in made.parameters():
        weight.normal_(0, 0.8 / weight[0].numel() ** 0.5 if weight.dim() > 1 else 0.1, generator=generator)
    made.decoder[22].bias.fill_(0.5)
    return made.double()


@pytest.fixture(scope="module")
def latents() -> Tensor:
    return 2 * torch.randn(5, 48, 3, 4, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def one_by_one(weights: dict[str, Tensor], latents: Tensor) -> Tensor:
    """Each frame goes through the whole list alone, memories in a dictionary; pictures in [-1, 1]."""
    memories: dict[int, Tensor] = {}
    frames: list[Tensor] = []

    def conv(x: Tensor, name: str) -> Tensor:
        weight = weights[f"{name}.weight"]
        return F.conv2d(x, weight, weights.get(f"{name}.bias"), padding=weight.shape[-1] // 2)

    def descend(x: Tensor, place: int) -> None:
        if place == 21:
            frames.append(F.pixel_shuffle(conv(x.relu(), "decoder.22"), 2).clamp(0, 1) * 2 - 1)
        elif place in (6, 12, 18):
            descend(x.repeat_interleave(2, 2).repeat_interleave(2, 3), place + 1)
        elif place in (7, 13, 19):
            for frame in conv(x, f"decoder.{place}.conv").chunk(1 if place == 7 else 2, dim=1):
                descend(frame, place + 1)
        elif place in (8, 14, 20):
            descend(conv(x, f"decoder.{place}"), place + 1)
        else:
            h = torch.cat([x, memories.get(place, torch.zeros_like(x))], dim=1)
            memories[place] = x
            h = conv(conv(h, f"decoder.{place}.conv.0").relu(), f"decoder.{place}.conv.2").relu()
            descend((conv(h, f"decoder.{place}.conv.4") + x).relu(), place + 1)

    for latent in latents.split(1):
        descend(conv(3 * torch.tanh(latent / 3), "decoder.1").relu(), 3)
    return torch.cat(frames)[3:]


def test_a_clip_agrees_with_the_description(vae: TinyVAE, latents: Tensor):
    pictures = vae.decode(latents, Past())
    assert pictures.shape == (17, 3, 48, 64)
    torch.testing.assert_close(pictures, one_by_one(vae.state_dict(), latents), atol=1e-12, rtol=0)
    assert pictures.std() > 0.1
    assert (pictures.abs() < 1).double().mean() > 0.5


@pytest.mark.parametrize("passes", [(1, 1, 1, 1, 1), (1, 4), (3, 2)])
def test_passes_of_any_length_are_the_whole_clip(vae: TinyVAE, latents: Tensor, passes: tuple[int, ...]):
    past = Past()
    parts = [vae.decode(part, past) for part in latents.split(passes)]
    assert [len(part) for part in parts] == [4 * length - 3 * (i == 0) for i, length in enumerate(passes)]
    torch.testing.assert_close(torch.cat(parts), vae.decode(latents, Past()), atol=1e-12, rtol=0)


def test_a_restarted_state_is_a_fresh_one(vae: TinyVAE, latents: Tensor):
    past = Past()
    first = vae.decode(latents, past)
    past.restart()
    assert torch.equal(vae.decode(latents, past), first)
