"""Wrong API keys, counted in Redis, so that guessing is slow whichever replica is asked.

    <cluster>:wrong_key:from:<address>    count of an address (an IPv6 address counts as its /64); expires
    <cluster>:wrong_key:like:<digest>     count of keys that begin alike; expires

An address is refused once it has been wrong too often, or once at all while many addresses guess at the same
beginning. An address that was never wrong is never refused, so nobody can lock the owner of a key out from elsewhere.
Counts live for one window from their first failure on; what is refused is neither looked up nor counted.
"""

from __future__ import annotations

import hashlib
import ipaddress

from redis.asyncio import Redis

from cluster.settings import Settings
from cluster.store import text

BEGINNING_CHARS = 8
"""`rk_` and 30 of a key's 256 bits."""
_IPV6_SITE_BITS = 64


class Throttle:
    """Raises redis-py's `RedisError` when Redis does not answer."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        self._prefix = f"{settings.cluster}:wrong_key"
        self._failures = settings.auth.key_failures
        self._window_s = settings.auth.key_failure_window_s

    async def retry_after_s(self, address: str, raw_key: str) -> int:
        """Seconds for which this address may not try this key; 0: it may."""
        own = self._of_address(address)
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.mget(own, self._of_beginning(raw_key))
            pipe.ttl(own)
            counts, ttl = await pipe.execute()
        from_here, alike = (int(text(count)) if count else 0 for count in counts)
        refused = from_here >= self._failures or (from_here > 0 and alike >= self._failures)
        return max(1, int(ttl)) if refused else 0

    async def failed(self, address: str, raw_key: str) -> None:
        """Count a wrong key."""
        async with self._redis.pipeline(transaction=True) as pipe:
            for name in (self._of_address(address), self._of_beginning(raw_key)):
                pipe.set(name, 0, ex=self._window_s, nx=True)
                pipe.incr(name)
            await pipe.execute()

    def _of_address(self, address: str) -> str:
        return f"{self._prefix}:from:{_site(address)}"

    def _of_beginning(self, raw_key: str) -> str:
        return f"{self._prefix}:like:{hashlib.sha256(raw_key[:BEGINNING_CHARS].encode()).hexdigest()[:16]}"


def _site(address: str) -> str:
    """What one party holds: an IPv4 address, or the /64 of an IPv6 one; one name for everything else."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "elsewhere"
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, _IPV6_SITE_BITS), strict=False).network_address)
