"""Waiting for a condition of the thing under test, with a limit that only a failure reaches."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any

LIMIT_S = 20.0
LOOK_EVERY_S = 0.005


async def eventually(condition: Callable[[], Any | Awaitable[Any]], limit_s: float = LIMIT_S) -> Any:
    """The first true value of `condition`, which may be a coroutine function."""
    async with asyncio.timeout(limit_s):
        while True:
            value = condition()
            if isawaitable(value):
                value = await value
            if value:
                return value
            await asyncio.sleep(LOOK_EVERY_S)


async def settle(turns: int = 20) -> None:
    """Let everything run that can run without waiting for anything outside the loop."""
    for _ in range(turns):
        await asyncio.sleep(0)
