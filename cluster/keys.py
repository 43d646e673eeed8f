"""API keys and the token secret. A key is shown once; Redis keeps its SHA-256 only.

    <cluster>:key:<key_id>     hash: name, created_at, digest, limits, rotated_at; previous, the digest before
    <cluster>:key_of:<digest>  key_id; that of a replaced secret expires with its grace
    <cluster>:jwt_secret       made once, unless the settings give one

Keys do not expire by themselves: they are revoked. The account is the key's id, which outlives its secret: a rotated
key keeps its sessions. A secret has 256 random bits, so a plain digest is enough.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from redis.asyncio import Redis

from cluster.records import PriorityClass
from cluster.settings import Settings
from cluster.store import text
from wire.http import SESSION_DURATION_MAX_S

GRACE_S = 86_400
"""How long a replaced secret goes on by default."""
SECRET_S = 1.0
"""How long the secret of tokens that Redis holds is used again; every request needs it."""

# At most two secrets are good at a time. KEYS: the key, the new digest's.
# ARGV: prefix of digests, new digest, key id, grace, now.
_ROTATE = """
local digest, previous = unpack(redis.call('HMGET', KEYS[1], 'digest', 'previous'))
if not digest then return 0 end
if previous then redis.call('DEL', ARGV[1] .. previous) end
if tonumber(ARGV[4]) > 0 then
  redis.call('EXPIRE', ARGV[1] .. digest, ARGV[4])
  redis.call('HSET', KEYS[1], 'previous', digest)
else
  redis.call('DEL', ARGV[1] .. digest)
  redis.call('HDEL', KEYS[1], 'previous')
end
redis.call('HSET', KEYS[1], 'digest', ARGV[2], 'rotated_at', ARGV[5])
redis.call('SET', KEYS[2], ARGV[3])
return 1
"""

_REVOKE = """
local digests = redis.call('HMGET', KEYS[1], 'digest', 'previous')
if not digests[1] then return 0 end
redis.call('DEL', KEYS[1], ARGV[1] .. digests[1])
if digests[2] then redis.call('DEL', ARGV[1] .. digests[2]) end
return 1
"""

_LIMIT = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'limits', ARGV[1])
return 1
"""


class KeyLimits(BaseModel):
    """A key's own limits; None leaves the cluster's (`LLC_LIMITS__…`)."""

    model_config = ConfigDict(frozen=True)

    max_sessions: Annotated[int, Field(ge=0)] | None = None
    """Open sessions of the account, more or fewer than the cluster's limit."""
    max_session_s: Annotated[int, Field(ge=1, le=SESSION_DURATION_MAX_S)] | None = None
    """Longest session in seconds, if that is shorter than the cluster's."""
    max_creations_per_minute: Annotated[int, Field(ge=1)] | None = None
    """New sessions of the account in any 60 s, more or fewer than the cluster's limit."""
    priority: PriorityClass | None = None
    """Class of the account's sessions where they wait; normal if there is none."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key's public side; `key_id` is also the tenant. Times in unix seconds, 0 for keys from the settings."""

    key_id: str
    name: str
    created_at: int
    limits: KeyLimits = field(default_factory=KeyLimits)
    rotated_at: int = 0


class KeyRing:
    """The keys of one cluster: those of the settings, and those in Redis."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        self._prefix = settings.cluster
        self._secret = settings.jwt_secret
        self._made, self._made_until = "", 0.0
        self._static = {
            (digest := _digest(key.get_secret_value())): ApiKey(f"key_{digest[:16]}", "from the environment", 0)
            for key in settings.api_keys
        }
        self._rotate, self._revoke, self._limit = (
            redis.register_script(source) for source in (_ROTATE, _REVOKE, _LIMIT)
        )

    async def resolve(self, raw_key: str) -> ApiKey | None:
        """The key, None if it is unknown, revoked, or replaced longer ago than its grace.

        Only digests are looked up and compared, so how long it takes says nothing of a secret.
        """
        digest = _digest(raw_key)
        static = [key for known, key in self._static.items() if hmac.compare_digest(known, digest)]
        if static:
            return static[0]
        key_id = await self._redis.get(self._digest_key(digest))
        if key_id is None:
            return None
        good = await self._redis.hmget(self._key(text(key_id)), ["digest", "previous"])
        if not any(hmac.compare_digest(text(known), digest) for known in good if known is not None):
            return None
        return await self.find(text(key_id))

    async def find(self, key_id: str) -> ApiKey | None:
        """The key of an id, None if it is unknown or revoked."""
        static = next((key for key in self._static.values() if key.key_id == key_id), None)
        return static or await self._read(key_id)

    async def create(self, name: str, limits: KeyLimits | None = None) -> tuple[ApiKey, str]:
        """A new key, and its raw form, which is not kept."""
        raw, digest = _new_secret()
        key = ApiKey(f"key_{digest[:16]}", name, int(time.time()), limits or KeyLimits())
        fields: dict[Any, Any] = {"name": name, "created_at": key.created_at, "digest": digest}
        fields["limits"] = key.limits.model_dump_json(exclude_none=True)
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.hset(self._key(key.key_id), mapping=fields)
            pipe.set(self._digest_key(digest), key.key_id)
            await pipe.execute()
        return key, raw

    async def rotate(self, key_id: str, grace_s: int = GRACE_S) -> str | None:
        """A new secret of the same key: its raw form, None if there is no such key in Redis.

        The secret before it is good for another `grace_s` seconds; one older than that ends at once.
        """
        raw, digest = _new_secret()
        keys = [self._key(key_id), self._digest_key(digest)]
        args: list[str | int] = [self._digest_key(""), digest, key_id, grace_s, int(time.time())]
        return raw if await self._rotate(keys=keys, args=args) else None

    async def limit(self, key_id: str, limits: KeyLimits) -> bool:
        """Replace a key's limits; they hold from the next session on. False if there is no such key in Redis."""
        args = [limits.model_dump_json(exclude_none=True)]
        return bool(await self._limit(keys=[self._key(key_id)], args=args))

    async def all(self) -> list[ApiKey]:
        """Every live key, oldest first."""
        prefix = self._key("")
        found = [text(name).removeprefix(prefix) async for name in self._redis.scan_iter(f"{prefix}*")]
        keys = [key for key_id in found if (key := await self._read(key_id))]
        return sorted([*self._static.values(), *keys], key=lambda key: (key.created_at, key.key_id))

    async def revoke(self, key_id: str) -> bool:
        """Forget a key; its tokens stop working at once. False if there is no such key in Redis."""
        return bool(await self._revoke(keys=[self._key(key_id)], args=[self._digest_key("")]))

    async def is_live(self, key_id: str) -> bool:
        """Whether the key exists and is not revoked."""
        return await self.find(key_id) is not None

    async def limits(self, tenant: str) -> KeyLimits:
        """An account's own limits; none for an account that is no key's."""
        key = await self.find(tenant)
        return key.limits if key else KeyLimits()

    async def jwt_secret(self) -> str:
        """The secret that signs tokens: of the settings, else one made once for the whole cluster."""
        if self._secret is not None:
            return self._secret.get_secret_value()
        if not self._made or time.monotonic() >= self._made_until:
            self._made_until = time.monotonic() + SECRET_S  # who comes meanwhile has the former one, and asks nobody
            self._made = await self._shared_secret()
        return self._made

    async def _shared_secret(self) -> str:
        name = f"{self._prefix}:jwt_secret"
        known = await self._redis.get(name)
        if known is None:
            await self._redis.set(name, secrets.token_urlsafe(48), nx=True)
            known = await self._redis.get(name)
        return text(known or "")

    async def _read(self, key_id: str) -> ApiKey | None:
        names = ["name", "created_at", "limits", "rotated_at"]
        name, created_at, limits, rotated_at = await self._redis.hmget(self._key(key_id), names)
        if name is None or created_at is None:
            return None
        own = KeyLimits.model_validate_json(limits) if limits else KeyLimits()
        return ApiKey(key_id, text(name), int(created_at), own, int(rotated_at or 0))

    def _key(self, key_id: str) -> str:
        return f"{self._prefix}:key:{key_id}"

    def _digest_key(self, digest: str) -> str:
        return f"{self._prefix}:key_of:{digest}"


def _new_secret() -> tuple[str, str]:
    raw = "rk_" + secrets.token_urlsafe(32)
    return raw, _digest(raw)


def _digest(raw_key: str) -> str:
    return hashlib.sha256(raw_key.encode()).hexdigest()
