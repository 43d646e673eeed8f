"""The contestants: how each is started, and which of its processes count."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions, version
from pathlib import Path

from benchmarks.peers.apis import Address
from benchmarks.peers.model import NAME
from benchmarks.peers.pictures import BITRATE, HEIGHT, WIDTH
from benchmarks.peers.processes import Unavailable, cpu_s, family, serving
from tests.support.server import WORKERS, Server, free_port

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ENVIRONMENT = ROOT / ".venv-peers"
LICENCE = "Apache-2.0"
"""What `reactor-runtime` has to be under: releases before 3 say of no licence, and are not run."""
KBPS = str(BITRATE // 1000)


@dataclass(frozen=True, slots=True)
class Contestant:
    """A running server. `media` are the processes that make, encode and send pictures, `all` the others, too."""

    address: Address
    version: str
    media: Callable[[], list[int]]
    all: Callable[[], list[int]]

    @property
    def name(self) -> str:
        return self.address.contestant

    def cpu_s(self) -> tuple[float, float]:
        """CPU seconds used so far, by the media processes and by all."""
        return cpu_s(self.media()), cpu_s(self.all())


@contextmanager
def cluster(codec: str) -> Iterator[Contestant]:
    """This cluster, as its console script starts it, with one warm worker."""
    environment = {
        "PYTHONPATH": f"{ROOT}:{HERE / 'plugin'}",
        "LLC_MEDIA__BITRATE": str(BITRATE * 1280 * 704 // (WIDTH * HEIGHT)),
    }
    pools = ({"model": NAME, "min_warm": 1, "max_workers": 1},)
    with Server.start(pools, keep="off", more=environment) as server:
        address = Address("cluster", server.url, server.api_key)
        yield Contestant(
            address, version("longlive-cluster"), lambda: server.pids(WORKERS), lambda: family(server.process.pid)
        )


@contextmanager
def stock(codec: str) -> Iterator[Contestant]:
    """`benchmarks.peers.stock`, in this environment."""
    port = free_port()
    command = (sys.executable, "-m", "benchmarks.peers.stock", str(port))
    with _alone("aiortc", command, port, "/health", {}, ROOT, version("aiortc")) as contestant:
        yield contestant


@contextmanager
def reactor(codec: str) -> Iterator[Contestant]:
    """`reactor-runtime` in its own environment, which `make peers` makes. Raises Unavailable."""
    if codec != "VP8":
        raise Unavailable(f"its media engine does not encode {codec}")
    installed = _installed()
    port = free_port()
    environment = {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "PYTHONPATH": str(ROOT),
        "STUN_SERVERS": "stun:127.0.0.1:9",  # without one it asks a public server, which may be out of reach
        "WEBRTC_SENDER_MAX_KBPS": KBPS,
        "WEBRTC_BWE_MAX_KBPS": KBPS,
        "WEBRTC_BWE_INITIAL_KBPS": KBPS,
        "REACTOR_LOG_LEVEL": "WARNING",
    }
    command = (str(ENVIRONMENT / "bin" / "python"), "-m", "reactor_runtime.serve")
    folder = HERE / "reactor"
    with _alone("reactor-runtime", command, port, "/health", environment, folder, installed.version) as contestant:
        yield contestant


def _installed() -> Distribution:
    paths = [str(path) for path in ENVIRONMENT.glob("lib/python3*/site-packages")]
    found = next(iter(distributions(name="reactor-runtime", path=paths)), None)
    if found is None:
        raise Unavailable("not installed: `make peers` does it, with CPython 3.12 or newer")
    if found.metadata["License-Expression"] != LICENCE:
        raise Unavailable(f"{found.version} is not under {LICENCE}")
    return found


@contextmanager
def _alone(
    name: str, command: tuple[str, ...], port: int, ready: str, more: Mapping[str, str], folder: Path, release: str
) -> Iterator[Contestant]:
    """A server that is one process, or one and its children."""
    url = f"http://127.0.0.1:{port}"
    with serving(command, url + ready, more, folder) as pid:
        yield Contestant(Address(name, url), release, lambda: family(pid), lambda: family(pid))


ALL: dict[str, Callable[[str], AbstractContextManager[Contestant]]] = {
    "cluster": cluster,
    "aiortc": stock,
    "reactor-runtime": reactor,
}
"""Each is given the codec that viewers offer."""
