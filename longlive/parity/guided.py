"""The transformer as the reference calls it: with guidance, and with every flow kept."""

from __future__ import annotations

from copy import deepcopy

from torch import Tensor

from wan.attention import KeysValues, Window
from wan.configs import DiTConfig
from wan.dit import DiT


class Behind:
    """A window of further layers of the cache of another: in lockstep with it, for the same chunks."""

    def __init__(self, window: Window, layers: int) -> None:
        self._window = window
        self._layers = layers

    def put(self, layer: int, keys: Tensor, values: Tensor) -> KeysValues:
        """As in `Window`."""
        return self._window.put(self._layers + layer, keys, values)


class GuidedDiT(DiT):
    """Its flow is `negative + guidance * (positive - negative)`, of the text given and of the negative text.

    Without a negative text it is the plain flow. `flows` keeps those of every call, each marked whether it is of the
    negative text. The negative text needs a window of its own: the cache must have twice the layers.
    """

    def __init__(self, config: DiTConfig, guidance: float) -> None:
        super().__init__(config)
        self.guidance = guidance
        self.negative: list[KeysValues] | None = None
        self.flows: list[tuple[bool, Tensor]] = []

    def forward(
        self, x: Tensor, timesteps: Tensor, text: list[KeysValues], rotations: Tensor, window: Window
    ) -> Tensor:
        """As in `DiT`."""
        positive = super().forward(x, timesteps, text, rotations, window)
        self.flows.append((False, positive))
        if self.negative is None:
            return positive
        negative = super().forward(x, timesteps, self.negative, rotations, self._behind(window))
        self.flows.append((True, negative))
        return negative + self.guidance * (positive - negative)

    def remember(self, x: Tensor, timesteps: Tensor, text: list[KeysValues], rotations: Tensor, window: Window) -> None:
        """As in `DiT`, which computes no flow. The reference does; it is made on a copy of the window, so that what
        later chunks see is the work of `remember`."""
        self.forward(x, timesteps, text, rotations, deepcopy(window))
        super().remember(x, timesteps, text, rotations, window)
        if self.negative is not None:
            super().remember(x, timesteps, self.negative, rotations, self._behind(window))

    def _behind(self, window: Window) -> Behind:
        return Behind(window, self.config.layers)
