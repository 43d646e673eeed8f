"""The keys and values of a stream's window: static buffers, one slot per chunk, nothing is ever moved."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from longlive.slots import SLOTS, SlotTable
from wan.attention import KeysValues
from wan.configs import DiTConfig


class KVCache:
    """Buffers [layers, slots*tokens, heads, head_dim] for keys and values, and the table that assigns the slots.

    It is the `Window` of `wan.attention`: each forward of the current chunk overwrites that chunk's slot.
    """

    def __init__(
        self, config: DiTConfig, tokens: int, device: torch.device | str, dtype: torch.dtype, slots: int = SLOTS
    ) -> None:
        shape = (config.layers, slots * tokens, config.heads, config.head_dim)
        self._keys = torch.zeros(shape, device=device, dtype=dtype)
        self._values = torch.zeros(shape, device=device, dtype=dtype)
        self._tokens = tokens
        self._slots = slots
        self._current = slice(0, 0)
        self.table = SlotTable(slots)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._keys.nbytes + self._values.nbytes

    def reset(self) -> None:
        """Forget everything; the buffers stay."""
        self.table = SlotTable(self._slots)

    def enter(self, chunk: int) -> None:
        """Make `chunk` the current one."""
        self._choose(self.table.enter(chunk))

    def restore(self, chunks: Sequence[int], pinned: int | None) -> None:
        """Let the window hold these chunks, in ascending order, and make the last of them the current one."""
        self.table = SlotTable(self._slots, chunks, pinned)
        self._choose(len(chunks) - 1)

    def put(self, layer: int, keys: Tensor, values: Tensor) -> KeysValues:
        """Write the current chunk's [tokens, heads, head_dim]; returns views of all the visible slots."""
        self._keys[layer, self._current] = keys
        self._values[layer, self._current] = values
        visible = len(self.table.chunks) * self._tokens
        return self._keys[layer, :visible], self._values[layer, :visible]

    def _choose(self, slot: int) -> None:
        self._current = slice(slot * self._tokens, (slot + 1) * self._tokens)
