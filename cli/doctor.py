"""What this machine has and lacks, one finding a line."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from cluster.settings import Settings


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: `text` says what was found, and what to do about it when it is not good."""

    subject: str
    good: bool
    text: str
    needed: bool = True


def examine(settings: Settings, port: int) -> list[Finding]:
    """All findings, in the order of their lines."""
    checks: list[Callable[[], Finding]] = [
        _python,
        _torch,
        lambda: _gpu(settings),
        lambda: _redis(settings),
        lambda: _port("gateway port", port, "choose another with --port"),
        lambda: _port("metrics port", settings.metrics_port, "the next free one is taken", needed=False),
        _codecs,
        _webrtc,
        lambda: _models(settings),
        _sdk,
    ]
    return [check() for check in checks]


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= (3, 11)
    return Finding("python", good, found if good else f"{found}: install CPython 3.11 or newer")


def _torch() -> Finding:
    try:
        import torch
    except ImportError as error:
        return Finding("torch", False, f"{error}: run `make setup`")
    return Finding("torch", True, f"{torch.__version__}, {torch.get_num_threads()} threads")


def _gpu(settings: Settings) -> Finding:
    import torch

    wanted = any(pool.num_gpus for pool in settings.pools)
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
        return Finding("gpu", True, ", ".join(names))
    remedy = "none: models run on the CPU (preset tiny); install a driver and a CUDA build of torch to use one"
    return Finding("gpu", False, remedy, needed=wanted)


def _redis(settings: Settings) -> Finding:
    from redis import Redis
    from redis.exceptions import RedisError

    from cluster.redis_server import RedisUnavailable, binary

    if url := settings.given_redis:
        try:
            with Redis.from_url(url, socket_timeout=2) as redis:
                redis.ping()
        except (RedisError, ValueError) as error:
            return Finding("redis", False, f"the server that is set does not answer ({error}): check LLC_REDIS_URL")
        return Finding("redis", True, "the server that is set answers")
    try:
        binary()
    except RedisUnavailable as error:
        return Finding("redis", False, str(error))
    return Finding("redis", True, "embedded; its keys and sessions end with the cluster (LLC_REDIS_URL keeps them)")


def _port(subject: str, port: int, remedy: str, *, needed: bool = True) -> Finding:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return Finding(subject, False, f"{port} is taken: stop what listens there, or {remedy}", needed)
    return Finding(subject, True, f"{port} is free")


def _codecs() -> Finding:
    import av

    missing = [name for name in ("libx264", "libvpx", "libopus") if name not in av.codecs_available]
    text = f"PyAV {av.__version__} lacks {', '.join(missing)}: install the wheel from PyPI"
    return Finding("codecs", not missing, text if missing else f"H.264, VP8, Opus (PyAV {av.__version__})")


def _webrtc() -> Finding:
    from cluster.media import rtp

    try:
        rtp.self_test()
    except RuntimeError as error:
        return Finding("webrtc", False, f"{error}: run `make setup`")
    return Finding("webrtc", True, f"aiortc {version('aiortc')}")


def _models(settings: Settings) -> Finding:
    from models import registry

    try:
        for pool in settings.pools:
            registry.find(pool.model, pool.preset, **pool.options).check(pool.device)
    except (registry.UnknownModelError, ValueError) as error:
        return Finding("models", False, f"{error}: check LLC_POOLS")
    return Finding("models", True, ", ".join(f"{pool.model} ({pool.preset})" for pool in settings.pools))


def _sdk() -> Finding:
    try:
        found = version("reactor-sdk")
    except PackageNotFoundError:
        return Finding("sdk", False, "reactor-sdk is not installed; `demo` needs it: run `make setup`", needed=False)
    return Finding("sdk", True, f"reactor-sdk {found}")
