"""Low-rank updates of linear layers: W + alpha/rank * (B @ A), merged once while loading.

Hu et al., "LoRA" (2021). Checkpoints are PEFT's, bare or in a pickle's section `generator_lora`: for each layer a pair
`base_model.model.<layer>.lora_A.weight` [rank, inputs] and `.lora_B.weight` [outputs, rank]. Product and sum are
computed in the type of the loaded weights, as the released merged weights were: in bf16 the product is rounded to bf16
before it is added.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from wan.weights import names
from wan.weights.errors import BadLora, ShapeMismatch, UnexpectedTensors, UnreadableFile
from wan.weights.files import Checkpoint
from wan.weights.layouts import Named, Part, identify

SETTINGS = "adapter_config.json"
"""What PEFT writes beside an adapter; of it only `lora_alpha` concerns us."""


@dataclass(frozen=True, slots=True)
class Update:
    """Of one layer: the names of A and B in the checkpoint and the scale of their product."""

    a: str
    b: str
    scale: float


class Lora:
    """The updates of a checkpoint by the name of the layer."""

    def __init__(self, named: Named, updates: Mapping[str, Update]) -> None:
        self.named = named
        self.updates = updates

    def check(self, module: nn.Module) -> None:
        """Whether every update fits a linear layer of the module.

        Raises:
            BadLora: it names something else.
            ShapeMismatch: the layer is of another size.
        """
        for layer, update in self.updates.items():
            linear = dict(module.named_modules()).get(layer)
            if not isinstance(linear, nn.Linear):
                raise BadLora(self.named.checkpoint.path, f"it adapts {layer}, which is not a linear layer")
            rank = self.named.shape(update.a)[0]
            self._fits(update.a, (rank, linear.in_features))
            self._fits(update.b, (linear.out_features, rank))

    def merge(self, name: str, weight: Tensor) -> Tensor:
        """Add to the parameter with this name, in place, what the update of its layer says, if there is one."""
        update = self.updates.get(name.removesuffix(".weight")) if name.endswith(".weight") else None
        if update is None:
            return weight
        a, b = (self.named.tensor(key).to(weight.device, weight.dtype) for key in (update.a, update.b))
        return weight.add_(b @ a, alpha=update.scale)

    def _fits(self, name: str, expected: tuple[int, int]) -> None:
        if (found := self.named.shape(name)) != expected:
            raise ShapeMismatch(self.named.stored(name).file, self.named.theirs[name], found, expected)


def read_lora(checkpoint: Checkpoint) -> Lora:
    """The updates that a checkpoint holds.

    The scale is 1 unless `adapter_config.json` lies beside the file: then it is its `lora_alpha` / rank.

    Raises:
        BadLora: not an adapter, half of a pair is missing, or its settings ask for another method.
        UnexpectedTensors: it holds other tensors too.
        ShapeMismatch: A and B disagree about the rank.
    """
    named = identify(checkpoint)
    if named.layout.part is not Part.LORA:
        raise BadLora(checkpoint.path, f"a {named.layout.part}, expected a LoRA")
    sides = {name: names.adapted(name) for name in named.theirs}
    if others := [name for name, side in sides.items() if side is None]:
        raise UnexpectedTensors(checkpoint.path, others, len(sides))
    pairs: dict[str, dict[str, str]] = {}
    for name, side in sides.items():
        if side is not None:
            pairs.setdefault(side[0], {})[side[1]] = name
    alpha = _alpha(checkpoint)
    return Lora(named, {layer: _update(named, layer, pair, alpha) for layer, pair in pairs.items()})


def _update(named: Named, layer: str, pair: Mapping[str, str], alpha: float | None) -> Update:
    file = named.checkpoint.path
    if missing := {"A", "B"} - pair.keys():
        raise BadLora(file, f"{layer} has no lora_{missing.pop()}")
    a, b = named.stored(pair["A"]), named.stored(pair["B"])
    for key, stored in ((pair["A"], a), (pair["B"], b)):
        if len(stored.shape) != 2:
            raise BadLora(file, f"{named.theirs[key]} is {list(stored.shape)}, expected a matrix")
    rank = a.shape[0]
    if b.shape[1] != rank:
        raise ShapeMismatch(b.file, named.theirs[pair["B"]], b.shape, (b.shape[0], rank))
    return Update(pair["A"], pair["B"], 1.0 if alpha is None else alpha / rank)


def _alpha(checkpoint: Checkpoint) -> float | None:
    path = checkpoint.path.parent / SETTINGS
    if not path.exists():
        return None
    try:
        settings = json.loads(path.read_bytes())
    except ValueError as error:
        raise UnreadableFile(path, f"not a JSON file: {error}") from error
    for method in ("use_rslora", "use_dora", "alpha_pattern"):
        if settings.get(method):
            raise BadLora(path, f"it sets {method}, which is not supported")
    alpha = settings.get("lora_alpha")
    if isinstance(alpha, bool) or not isinstance(alpha, int | float):
        raise BadLora(path, f"lora_alpha is {alpha!r}, expected a number")
    return float(alpha)
