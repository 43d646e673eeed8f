"""From a checkpoint into a module that has no memory yet.

All names, shapes and types are checked first, then every value; only then is anything allocated on the device, one
tensor after the other, so that no second copy of the network ever exists.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from wan.weights.errors import BadDtype, MissingTensors, NonFinite, ShapeMismatch, UnexpectedTensors
from wan.weights.files import Checkpoint
from wan.weights.infer import has_encoder
from wan.weights.layouts import Named, Part, identify
from wan.weights.lora import Lora, read_lora
from wan.weights.scan import count_non_finite

logger = logging.getLogger(__name__)

FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
ENCODING = ("encoder", "conv1")
"""The submodules of a VAE that only encoding needs; light VAEs come without."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A module on the meta device and a checkpoint that has been found good for it."""

    module: nn.Module
    named: Named
    update: Lora | None
    absent: tuple[str, ...]

    def fill(self, device: torch.device | str, dtype: torch.dtype) -> None:
        """Give the module its parameters, as `dtype` on `device`, copied out of the file, without gradients.

        A VAE whose checkpoint has no encoder loses its submodule `encoder`, and `conv1` with it if that is not there
        either.
        """
        for name in self.absent:
            delattr(self.module, name)
        names = list(_shapes(self.module, ()))
        for name in names:
            _put(self.module, name, self.named, self.update, torch.device(device), dtype)
        self.module.eval()
        source = self.named.checkpoint.path
        logger.info("loaded %s: %s, %d tensors to %s", source, self.named.layout, len(names), device)


def examine(module: nn.Module, checkpoint: Checkpoint, lora: Checkpoint | None = None) -> Ready:
    """Whether the checkpoint is the module's, in whatever layout, down to its values. Allocates nothing.

    Raises:
        UnknownLayout: the checkpoint is none of the networks we know, or not one for us.
        MissingTensors, UnexpectedTensors, ShapeMismatch, BadDtype: it is not of this module.
        NonFinite: a value is NaN or infinite.
        BadLora: `lora` does not fit.
    """
    named = verify(module, checkpoint)
    absent = _absent(named)
    update = _checked(lora, module)
    scan(named, _shapes(module, absent))
    if update is not None:
        scan(update.named, update.named.theirs)
    return Ready(module, named, update, absent)


def verify(module: nn.Module, checkpoint: Checkpoint) -> Named:
    """The checkpoint under our names, if names, shapes and types are the module's. Reads no tensors.

    Raises:
        UnknownLayout: the checkpoint is none of the networks we know, or not one for us.
        MissingTensors, UnexpectedTensors, ShapeMismatch, BadDtype: it is not of this module.
    """
    named = identify(checkpoint)
    check(named, _shapes(module, _absent(named)))
    return named


def check(named: Named, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Whether the checkpoint has exactly these tensors, in floating point.

    Raises:
        MissingTensors, UnexpectedTensors, ShapeMismatch, BadDtype: it has not.
    """
    path = named.checkpoint.path
    if missing := [name for name in shapes if name not in named.theirs]:
        raise MissingTensors(path, missing, len(shapes))
    if unexpected := [theirs for ours, theirs in named.theirs.items() if ours not in shapes]:
        raise UnexpectedTensors(path, unexpected, len(named.theirs))
    for name, expected in shapes.items():
        stored = named.stored(name)
        if stored.shape != expected:
            raise ShapeMismatch(stored.file, named.theirs[name], stored.shape, expected)
    _check_dtypes(named)


def scan(named: Named, names: Iterable[str]) -> None:
    """Whether all values are finite. Reads every tensor once. Raises NonFinite."""
    for name in names:
        if count := count_non_finite(named.tensor(name)):
            stored = named.stored(name)
            raise NonFinite(stored.file, named.theirs[name], count, stored.count)


def _check_dtypes(named: Named) -> None:
    for name, theirs in named.theirs.items():
        stored = named.stored(name)
        if stored.dtype not in FLOATS:
            raise BadDtype(stored.file, theirs, str(stored.dtype).removeprefix("torch."))


def _absent(named: Named) -> tuple[str, ...]:
    """The submodules that a checkpoint without an encoder goes without."""
    if named.layout.part is not Part.VAE or has_encoder(named):
        return ()
    return tuple(part for part in ENCODING if f"{part}.weight" not in named.theirs)


def _shapes(module: nn.Module, absent: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    return {
        name: tuple(weight.shape)
        for name, weight in module.named_parameters()
        if not name.startswith(tuple(f"{part}." for part in absent))
    }


def _checked(lora: Checkpoint | None, module: nn.Module) -> Lora | None:
    if lora is None:
        return None
    update = read_lora(lora)
    update.check(module)
    _check_dtypes(update.named)
    return update


def _put(
    module: nn.Module, name: str, named: Named, update: Lora | None, device: torch.device, dtype: torch.dtype
) -> None:
    weight = named.tensor(name).to(device, dtype, copy=True, memory_format=torch.contiguous_format)
    if update is not None:
        weight = update.merge(name, weight)
    owner, _, leaf = name.rpartition(".")
    setattr(module.get_submodule(owner), leaf, nn.Parameter(weight, requires_grad=False))
