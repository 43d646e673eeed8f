"""The keys and values of a stream's window: static buffers, one slot per chunk, nothing is ever moved."""

from __future__ import annotations

import torch
from torch import Tensor

from longlive.slots import SLOTS, SlotTable
from wan.attention import KeysValues
from wan.configs import DiTConfig


class KVCache:
    """Buffers [layers, heads, slots*tokens, head_dim] for keys and values, and the table that assigns the slots.

    It is the `Window` of `wan.attention`: each forward of the current chunk overwrites that chunk's slot.
    """

    def __init__(self, config: DiTConfig, tokens: int, device: torch.device | str, dtype: torch.dtype) -> None:
        shape = (config.layers, config.heads, SLOTS * tokens, config.head_dim)
        self._keys = torch.zeros(shape, device=device, dtype=dtype)
        self._values = torch.zeros(shape, device=device, dtype=dtype)
        self._tokens = tokens
        self._current = slice(0, 0)
        self.table = SlotTable()

    def reset(self) -> None:
        """Forget everything; the buffers stay."""
        self.table = SlotTable()

    def enter(self, chunk: int) -> None:
        """Make `chunk` the current one."""
        slot = self.table.enter(chunk)
        self._current = slice(slot * self._tokens, (slot + 1) * self._tokens)

    def put(self, layer: int, keys: Tensor, values: Tensor) -> KeysValues:
        """Write the current chunk's [heads, tokens, head_dim]; returns views of all the visible slots."""
        self._keys[layer, :, self._current] = keys
        self._values[layer, :, self._current] = values
        visible = len(self.table.chunks) * self._tokens
        return self._keys[layer, :, :visible], self._values[layer, :, :visible]
