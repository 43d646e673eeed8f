"""Whether a device will do for a preset: asked before anything is allocated on it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from longlive.budget import GB, Budget, budget
from longlive.presets import Preset
from models.contract import DeviceLost

BFLOAT16_SINCE = (8, 0)
"""The first compute capability that computes in bfloat16."""


class DeviceError(ValueError):
    """The device is not there, cannot compute what is asked of it, or is too small; says which and by how much."""


def check(preset: Preset, device: str) -> None:
    """Whether one stream of the preset will run there, its decoder wherever the options put it. Raises DeviceError."""
    needs = budget(preset)
    for name, needed in _shares(needs, device, preset.options.vae_device or device).items():
        _check_kind(preset, name)
        free, what = memory(torch.device(name))
        if needed > free:
            raise DeviceError(
                f"{what} has {free / GB:.1f} GB to give and preset {preset.name} needs {needed / GB:.1f} GB there "
                f"(weights {needs.weights / GB:.1f}, window {needs.kv / GB:.1f}, VAE state {needs.vae_state / GB:.1f}, "
                f"prompts {needs.prompts / GB:.1f}, work {(needs.work + needs.vae_work) / GB:.1f})"
            )


@contextmanager
def losses() -> Iterator[None]:
    """Tell what fails because of the device from what fails because of what is computed. Raises DeviceLost."""
    try:
        yield
    except (torch.AcceleratorError, torch.OutOfMemoryError, MemoryError) as error:
        raise DeviceLost(f"{type(error).__name__}: {error}") from error


def memory(device: torch.device) -> tuple[int, str]:
    """Bytes that may be taken there, and the device's name."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free, f"{device} ({torch.cuda.get_device_name(device)})"
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), "this machine"


def _shares(needs: Budget, device: str, vae_device: str) -> dict[str, int]:
    if vae_device == device:
        return {device: needs.total()}
    own, decoders = needs.apart()
    return {device: own.total(), vae_device: decoders.total()}


def _check_kind(preset: Preset, name: str) -> None:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"{name!r} is no device: {error}") from None
    if device.type not in ("cpu", "cuda"):
        raise DeviceError(f"models run on cpu and cuda, not on {device}")
    if device.type == "cuda":
        _check_gpu(preset, device)


def _check_gpu(preset: Preset, device: torch.device) -> None:
    count = torch.cuda.device_count()
    if (device.index or 0) >= count:
        raise DeviceError(f"there is no {device}: torch {torch.__version__} sees {count} GPUs")
    capability = torch.cuda.get_device_capability(device)
    if preset.options.dtype == "bfloat16" and capability < BFLOAT16_SINCE:
        raise DeviceError(
            f"{device} ({torch.cuda.get_device_name(device)}) has compute capability {capability[0]}.{capability[1]}; "
            f"bfloat16 needs {BFLOAT16_SINCE[0]}.{BFLOAT16_SINCE[1]}"
        )
