"""A gateway to fuzz: its own thread and port, and a cluster in that thread."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import structlog
import uvicorn
from structlog.testing import LogCapture

from cluster.settings import Settings
from gateway.app import create_app
from tests.support.local import LocalCluster

START_S = 60


class FuzzServer:
    """Made in its own loop by `start`; its methods are for the test's thread."""

    def __init__(self, settings: Settings, redis_url: str) -> None:
        self._loop = asyncio.get_running_loop()
        self.local = LocalCluster(settings, redis_url)
        self.app = create_app(self.local.client, settings)
        self.url = ""
        self.errors = LogCapture()
        """What was logged as an error. Nothing is printed: pytest's capture of stdout is not for two threads."""

    @classmethod
    @contextmanager
    def start(cls, settings: Settings, redis_url: str) -> Iterator[FuzzServer]:
        """Serve until the end of the context."""
        servers: list[FuzzServer] = []
        ready, over = threading.Event(), threading.Event()

        async def serve() -> None:
            servers.append(cls(settings, redis_url))
            await servers[0]._serve(ready, over)

        thread = threading.Thread(target=asyncio.run, args=(serve(),))
        thread.start()
        try:
            assert ready.wait(START_S)
            yield servers[0]
        finally:
            over.set()
            thread.join()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """The result of a coroutine, from the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(START_S)

    async def _serve(self, ready: threading.Event, over: threading.Event) -> None:
        config = uvicorn.Config(self.app, lifespan="off", ws="none", log_config=None, access_log=False)
        server = uvicorn.Server(config)
        only_errors = structlog.make_filtering_bound_logger(logging.ERROR)
        structlog.configure(processors=[self.errors], wrapper_class=only_errors)
        # asyncio turns Nagle's algorithm off for a socket that says that it is TCP; else every answer takes 40 ms.
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as port:
            port.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{port.getsockname()[1]}"
            serving = asyncio.create_task(server.serve([port]))
            ready.set()
            await asyncio.to_thread(over.wait)
            server.should_exit = True
            await serving
        await self.local.close()
        structlog.reset_defaults()
