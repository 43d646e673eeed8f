import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from longlive.budget import GB, GPUS, budget, dit_params, text_params, vae_params
from longlive.cache import KVCache
from longlive.convolutions import decoder
from longlive.flops import flops, text_flops
from longlive.presets import FULL, LATENTS_PER_CHUNK, TINY, Preset, find
from longlive.rollout import Rollout
from models.contract import VideoFormat
from wan.attention import KeysValues
from wan.causal import Past
from wan.configs import TinyVAEConfig
from wan.dit import DiT
from wan.fp8 import quantise
from wan.taew22 import TinyVAE
from wan.umt5 import UMT5
from wan.unipc import recipe
from wan.vae22 import VAE

pytestmark = pytest.mark.slow

SMALL = replace(
    TINY,
    video=VideoFormat(width=96, height=64, fps=24),
    vae=replace(TINY.vae, multipliers=(1, 2, 4, 4), decoder_blocks=2),
)
"""Widths that change from stage to stage, as in the full model; all are multiples of 8."""


def held(net: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in (*net.parameters(), *net.buffers()))


def count(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def counted(work: Callable[[], object]) -> int:
    # The counter does not know the CPU's flash attention, but it knows matrix products.
    with FlopCounterMode(display=False) as counter, torch.inference_mode(), sdpa_kernel(SDPBackend.MATH):
        work()
    return int(counter.get_total_flops())


def text_of(dit: DiT) -> list[KeysValues]:
    return dit.encode_text(torch.zeros(7, dit.config.text_dim))


@pytest.mark.parametrize("preset", [TINY, SMALL, FULL], ids=["tiny", "small", "full"])
def test_the_numbers_of_weights_are_those_of_the_modules(preset: Preset) -> None:
    with torch.device("meta"):
        dit, text, vae = DiT(preset.dit), UMT5(preset.text), VAE(preset.vae)
    assert (dit_params(preset.dit), text_params(preset.text), vae_params(preset.vae)) == (
        count(dit),
        count(text),
        count(vae),
    )


def test_the_released_model_has_its_published_sizes() -> None:
    assert dit_params(FULL.dit) == 4_999_787_712
    assert text_params(FULL.text) == 5_680_910_336
    assert vae_params(FULL.vae) == 704_688_668
    b = budget(FULL)
    assert (b.dit, b.text, b.vae) == (9_999_575_424, 11_361_820_672, 1_409_377_336)
    assert b.kv / GB == pytest.approx(10.38, abs=0.01)
    assert b.vae_state / GB == pytest.approx(3.22, abs=0.01)
    assert b.prompts / FULL.options.prompts == pytest.approx(189e6, rel=0.01)


def test_the_memory_goals() -> None:
    b = budget(find("5b", stream=True))
    assert b.total() <= 45 * GB
    assert b.total(2) - b.total() <= 14 * GB


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_window_is_what_the_cache_allocates(dtype: str) -> None:
    preset = replace(SMALL, options=SMALL.options.model_copy(update={"dtype": dtype}))
    cache = KVCache(preset.dit, preset.tokens, "cpu", getattr(torch, dtype))
    assert budget(preset).kv == cache.nbytes


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_fp8_weights_are_what_the_quantised_blocks_hold(dtype: str) -> None:
    preset = find("tiny", linears="fp8", dtype=dtype)
    dit = DiT(preset.dit).requires_grad_(False).to(getattr(torch, dtype))
    quantise(dit)
    assert budget(preset).dit == held(dit)


def test_the_vae_state_is_what_a_decode_leaves() -> None:
    past, vae = Past(), VAE(SMALL.vae)
    with torch.inference_mode():
        vae.decode_folded(torch.zeros(SMALL.latent_shape)[:2], past)
    assert budget(SMALL).vae_state == past.nbytes


def test_the_tiny_decoder_is_counted_as_well() -> None:
    preset = replace(SMALL, options=SMALL.options.model_copy(update={"decoder": "tiny"}))
    past, tiny = Past(), TinyVAE(TinyVAEConfig())
    latents = torch.zeros(preset.latent_shape)[:2]
    operations = flops(preset)
    for latent, expected in zip(latents.split(1), (operations.first_latent, operations.later_latent), strict=True):
        assert counted(lambda latent=latent: tiny.decode_folded(latent, past)) == expected
    assert budget(preset).vae == held(tiny)
    assert budget(preset).vae_state == past.nbytes


def test_the_prompts_are_what_the_text_becomes() -> None:
    with torch.inference_mode():
        text = text_of(DiT(SMALL.dit))
    one = sum(part.nbytes for keys_values in text for part in keys_values)
    assert budget(SMALL).prompts == SMALL.options.prompts * one


def test_a_kept_vae_state_is_each_streams_own() -> None:
    fresh, kept = budget(SMALL), budget(replace(SMALL, options=SMALL.options.model_copy(update={"stream": True})))
    assert fresh.total() == kept.total()
    assert kept.per_stream - fresh.per_stream == fresh.vae_state


@pytest.mark.parametrize("stream", [False, True])
def test_as_many_streams_fit_as_the_total_says(stream: bool) -> None:
    b = budget(find("5b", stream=stream))
    fit = b.streams(80 * GB)
    assert b.total(fit) <= 80 * GB < b.total(fit + 1)
    assert b.streams(b.total() - 1) == 0


def test_a_decoder_of_its_own_takes_its_part_along() -> None:
    b = budget(FULL)
    rest, decoder_part = b.apart()
    assert rest.total() + decoder_part.total() == b.total()
    assert decoder_part.weights == b.vae


def test_flops_are_those_of_the_facts() -> None:
    f = flops(FULL)
    assert [x / 1e12 for x in f.forward] == pytest.approx([81.3, 99.6, 117.9, 136.15], rel=0.01)
    assert f.later_latent / 1e12 == pytest.approx(66.35, rel=0.001)
    assert f.first_latent / 1e12 == pytest.approx(20.6, rel=0.01)
    assert f.decode(fresh=True) / 1e12 == pytest.approx(485.0, rel=0.001)
    assert f.chunk(4, fresh=False) / 1e12 == pytest.approx(1211.6, rel=0.01)
    encoder_only = 4.84
    cross = 2 * 512 * (30 * 2 * 3072**2 + 4096 * 3072 + 3072**2) / 1e12
    assert text_flops(FULL, 512) / 1e12 == pytest.approx(encoder_only + cross, rel=0.001)


def test_a_light_vae_is_cheaper() -> None:
    light = replace(FULL, vae=replace(FULL.vae, decoder_dim=128))
    assert flops(light).later_latent / 1e12 == pytest.approx(16.64, rel=0.001)
    assert budget(light).vae_state / GB == pytest.approx(1.61, abs=0.01)


def test_the_transformers_flops_are_those_counted() -> None:
    dit = DiT(SMALL.dit).requires_grad_(False)
    rollout = Rollout(dit, recipe(SMALL.options.steps), SMALL.grid, LATENTS_PER_CHUNK)
    noise, text, expected = torch.zeros(SMALL.latent_shape), text_of(dit), flops(SMALL)
    for forward, commit in zip(expected.forward, expected.commit, strict=True):
        with torch.inference_mode():
            rollout.begin(text, starts_shot=False)
        assert counted(lambda: rollout.sample(noise)) == SMALL.options.steps * forward
        assert counted(lambda: rollout.commit(noise)) == commit


def test_the_texts_flops_are_those_counted() -> None:
    dit, encoder = DiT(SMALL.dit), UMT5(SMALL.text)
    ids = torch.zeros(11, dtype=torch.long)
    assert counted(lambda: dit.encode_text(encoder(ids))) == text_flops(SMALL, len(ids))


def test_the_decoders_flops_are_those_counted() -> None:
    past, vae, expected = Past(), VAE(SMALL.vae), flops(SMALL)
    latent = torch.zeros(SMALL.latent_shape)[:1]
    # On a CPU the last convolution's 12 outputs are padded to 16.
    *_, last = decoder(SMALL.vae)
    spare = 2 * last.macs // 3 * last.scale**2 * latent[0, 0].numel()
    assert counted(lambda: vae.decode_folded(latent, past)) == expected.first_latent + spare * last.first
    assert counted(lambda: vae.decode_folded(latent, past)) == expected.later_latent + spare * last.later


def test_the_table_needs_no_torch() -> None:
    code = "import sys; from longlive.budget import main; main(); assert 'torch' not in sys.modules"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    head, rule, *rows = shown.stdout.splitlines()
    assert all(gpu in head for gpu in GPUS)
    assert {line.count("|") for line in (rule, *rows)} == {head.count("|")}
