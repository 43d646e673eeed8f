"""torch.compile with static shapes, and a count of what it compiled: once a stream is in its stride it stands still."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class Compiler:
    """Compiles functions whole or not at all; `count` is the number of graphs compiled so far."""

    def __init__(self, backend: str = "inductor") -> None:
        from torch._dynamo.backends.registry import lookup_backend  # takes as long as all else here, and few compile

        self.count = 0
        self._backend = lookup_backend(backend)

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, compiled at its first call and again only for shapes and branches not yet met."""
        return torch.compile(function, fullgraph=True, dynamic=False, backend=self._compile)

    def _compile(self, graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
        self.count += 1
        return self._backend(graph, inputs)
