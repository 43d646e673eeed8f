"""Reader of the golden vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from wan.configs import DiTConfig

FOLDER = Path(__file__).parent.parent / "golden" / "longlive"
BOUND = 1e-4


class Golden:
    """One file: `g["out/x"]`, `g.config`, and `g.weights("model.")` without the prefix."""

    def __init__(self, name: str) -> None:
        with safe_open(FOLDER / f"{name}.safetensors", "pt") as file:
            self.config: dict[str, Any] = json.loads(file.metadata()["config"])
            self._tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118

    def __getitem__(self, key: str) -> Tensor:
        return self._tensors[key]

    def weights(self, prefix: str = "") -> dict[str, Tensor]:
        start = f"w/{prefix}"
        return {key.removeprefix(start): value for key, value in self._tensors.items() if key.startswith(start)}


def difference(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape
    return float((a - b).abs().max())


def dit_config(config: dict[str, Any]) -> DiTConfig:
    return DiTConfig(
        dim=config["heads"] * config["head_dim"],
        ffn_dim=config["ffn"],
        heads=config["heads"],
        layers=config["layers"],
        text_dim=config["text_dim"],
        text_len=config["text_len"],
        freq_dim=config["freq_dim"],
        channels=config["ch"],
    )
