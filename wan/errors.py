"""What this room refuses.

Unavailable             a fast path that this machine cannot run
├── BackendUnavailable  an attention backend           (wan.backends)
├── Fp8Unavailable      FP8 linears                    (wan.fp8)
└── TritonUnavailable   the Triton kernels             (wan.kernels)
"""

from __future__ import annotations


class Unavailable(RuntimeError):
    """The fast path `name` cannot run here, for `reason`."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason


class BackendUnavailable(Unavailable):
    """An attention backend."""


class Fp8Unavailable(Unavailable):
    """FP8 linears."""


class TritonUnavailable(Unavailable):
    """The Triton kernels."""
