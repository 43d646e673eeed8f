"""How long the fuzz tests look for trouble: `make test` takes their defaults, `make fuzz` a multiple of them."""

from __future__ import annotations

import os

EFFORT = int(os.environ.get("FUZZ_EFFORT", "1"))
