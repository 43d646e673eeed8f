"""API keys and the token secret. A key is shown once; Redis keeps its SHA-256 only.

    <cluster>:key:<key_id>     hash: name, created_at, digest
    <cluster>:key_of:<digest>  key_id
    <cluster>:jwt_secret       made once, unless the settings give one

Keys do not expire by themselves: they are revoked. A key has 256 random bits, so a plain digest is enough.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from cluster.settings import Settings
from cluster.store import text


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key's public side; `key_id` is also the tenant. `created_at` in unix seconds, 0 for keys from the settings."""

    key_id: str
    name: str
    created_at: int


class KeyRing:
    """The keys of one cluster: those of the settings, and those in Redis."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        self._prefix = settings.cluster
        self._secret = settings.jwt_secret
        self._static = {
            (digest := _digest(key.get_secret_value())): ApiKey(f"key_{digest[:16]}", "from the environment", 0)
            for key in settings.api_keys
        }

    async def resolve(self, raw_key: str) -> ApiKey | None:
        """The key, None if it is unknown or revoked."""
        digest = _digest(raw_key)
        if digest in self._static:
            return self._static[digest]
        key_id = await self._redis.get(f"{self._prefix}:key_of:{digest}")
        return await self._read(text(key_id)) if key_id else None

    async def create(self, name: str) -> tuple[ApiKey, str]:
        """A new key, and its raw form, which is not kept."""
        raw = "rk_" + secrets.token_urlsafe(32)
        digest = _digest(raw)
        key = ApiKey(f"key_{digest[:16]}", name, int(time.time()))
        async with self._redis.pipeline(transaction=True) as pipe:
            fields: dict[Any, Any] = {"name": name, "created_at": key.created_at, "digest": digest}
            pipe.hset(f"{self._prefix}:key:{key.key_id}", mapping=fields)
            pipe.set(f"{self._prefix}:key_of:{digest}", key.key_id)
            await pipe.execute()
        return key, raw

    async def all(self) -> list[ApiKey]:
        """Every live key, oldest first."""
        prefix = f"{self._prefix}:key:"
        found = [text(name).removeprefix(prefix) async for name in self._redis.scan_iter(f"{prefix}*")]
        keys = [key for key_id in found if (key := await self._read(key_id))]
        return sorted([*self._static.values(), *keys], key=lambda key: (key.created_at, key.key_id))

    async def revoke(self, key_id: str) -> bool:
        """Forget a key; its tokens stop working at once. False if there is no such key in Redis."""
        digest = await self._redis.hget(f"{self._prefix}:key:{key_id}", "digest")
        if digest is None:
            return False
        await self._redis.delete(f"{self._prefix}:key:{key_id}", f"{self._prefix}:key_of:{text(digest)}")
        return True

    async def is_live(self, key_id: str) -> bool:
        """Whether the key exists and is not revoked."""
        if any(key.key_id == key_id for key in self._static.values()):
            return True
        return bool(await self._redis.exists(f"{self._prefix}:key:{key_id}"))

    async def jwt_secret(self) -> str:
        """The secret that signs tokens: of the settings, else one made once for the whole cluster."""
        if self._secret is not None:
            return self._secret.get_secret_value()
        name = f"{self._prefix}:jwt_secret"
        await self._redis.set(name, secrets.token_urlsafe(48), nx=True)
        return text(await self._redis.get(name) or "")

    async def _read(self, key_id: str) -> ApiKey | None:
        name, created_at = await self._redis.hmget(f"{self._prefix}:key:{key_id}", ["name", "created_at"])
        return ApiKey(key_id, text(name), int(created_at)) if name is not None and created_at is not None else None


def _digest(raw_key: str) -> str:
    return hashlib.sha256(raw_key.encode()).hexdigest()
