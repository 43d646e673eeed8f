"""Reader of golden files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

Value = TypeVar("Value")
Net = TypeVar("Net", bound=nn.Module)
Pattern = re.Pattern[str]


class CannotCheck(ValueError):
    """A file that is not of the contract, or that asks for what this engine does not do; the message says which."""


class Golden:
    """One file. Floating-point tensors are given as float32, the precision in which the engine is compared.

    Raises:
        CannotCheck: the file cannot be read or has no config. Its methods raise it where the content is not as asked.
    """

    def __init__(self, path: Path) -> None:
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise CannotCheck(f"not a readable safetensors file: {error}") from error
        self._tensors: dict[str, Tensor] = {
            key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in tensors.items()
        }
        self._config = _parse(metadata.get("config"))

    def __contains__(self, key: str) -> bool:
        return key in self._tensors

    def __getitem__(self, key: str) -> Tensor:
        if key not in self._tensors:
            raise CannotCheck(f"it has no {key}")
        return self._tensors[key]

    @property
    def names(self) -> list[str]:
        """All keys."""
        return list(self._tensors)

    def numbered(self, pattern: str) -> dict[int, str]:
        """The keys that are the pattern, by the number that its one group finds in them, ascending."""
        found = ((re.fullmatch(pattern, key), key) for key in self._tensors)
        return dict(sorted((int(match[1]), key) for match, key in found if match))

    def shaped(self, key: str, *shape: int | None) -> Tensor:
        """The tensor, which must have this shape; None stands for any size."""
        tensor = self[key]
        sizes = tensor.shape
        if len(sizes) != len(shape) or any(b not in (None, a) for a, b in zip(sizes, shape, strict=True)):
            wanted = ", ".join("any" if size is None else str(size) for size in shape)
            raise CannotCheck(f"{key} is {list(sizes)}, expected [{wanted}]")
        return tensor

    def setting(self, name: str, kind: type[Value], default: Value | None = None) -> Value:
        """A value of the config, of this type."""
        value = self._config.get(name, default)
        if value is None:
            raise CannotCheck(f"its config has no {name}")
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise CannotCheck(f"its config has {name} {value!r}, expected {kind.__name__}")
        return value

    def size(self, name: str) -> int:
        """A positive whole number of the config."""
        value = self.setting(name, int)
        if value < 1:
            raise CannotCheck(f"its config has {name} {value}, expected at least 1")
        return value

    def build(self, make: Callable[[], Net], prefix: str = "") -> Net:
        """The network that `make` makes, with the file's weights `w/<prefix>*`; it must have exactly those."""
        start = f"w/{prefix}"
        weights = {key.removeprefix(start): value for key, value in self._tensors.items() if key.startswith(start)}
        with torch.device("meta"):
            net = make()
        try:
            net.load_state_dict(weights, strict=True, assign=True)
        except RuntimeError as error:
            raise CannotCheck(f"its weights are not those of its config: {' '.join(str(error).split())}") from error
        return net.requires_grad_(False)


def _parse(text: str | None) -> dict[str, Any]:
    if text is None:
        raise CannotCheck("its metadata has no config")
    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        raise CannotCheck(f"its config is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise CannotCheck("its config is not a JSON object")
    return config
