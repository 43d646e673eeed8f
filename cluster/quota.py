"""What an account may have and do at a time. Looked at and taken in one step in Redis, so that no two requests, at
whichever gateways, are both given the last place.

    <cluster>:<tenant>:created    sorted set of session ids by the time of their creation, in ms; expires

Creations are counted in the `WINDOW_S` seconds before each: of any such time never more than the limit are let
through. What is refused is not counted, nor what came in a time that Redis' clock has not reached: it was set back.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from cluster.errors import CreationsExceeded, QuotaExceeded, ScopeExhausted

WINDOW_S = 60

LUA = """
local function models(open, record_of)
  local found = {}
  for _, id in ipairs(redis.call('SMEMBERS', open)) do
    local model = redis.call('HGET', record_of .. id, 'model')
    if model then found[#found + 1] = model else redis.call('SREM', open, id) end
  end
  return found
end

local function covered(found, scope)
  if not scope then return #found end
  local count = 0
  for _, model in ipairs(found) do
    for _, each in ipairs(scope) do if model == each then count = count + 1 end end
  end
  return count
end

local function refused(quota, open, created, record_of, now)
  if quota.of_scope and covered(models(open, record_of), quota.scope) >= quota.of_scope then return 'scope', 0 end
  if quota.open and redis.call('SCARD', open) >= quota.open and #models(open, record_of) >= quota.open then
    return 'open', 0
  end
  if quota.created then
    redis.call('ZREMRANGEBYSCORE', created, '-inf', now - quota.window)
    redis.call('ZREMRANGEBYSCORE', created, '(' .. now, '+inf')
    local count = redis.call('ZCARD', created)
    if count >= quota.created then
      local at = count - quota.created
      return 'created', redis.call('ZRANGE', created, at, at, 'WITHSCORES')[2] + quota.window - now
    end
  end
  return nil
end

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
"""
"""`refused` gives the limit that forbids another session and the ms until that may change, or nil. A set of open
sessions can hold some that have expired; they are not counted, and taken out."""


@dataclass(frozen=True, slots=True)
class Quota:
    """The limits of one request; None is no limit."""

    open_sessions: int | None = None
    """Of the account."""
    created: int | None = None
    """Sessions of the account in any `WINDOW_S` seconds."""
    of_scope: int | None = None
    """Open sessions of the account on the models of `scope`: what a token says."""
    scope: frozenset[str] | None = None
    """None: all models."""

    def to_redis(self) -> str:
        """For `refused`."""
        scope = None if self.scope is None else sorted(self.scope)
        limits = {"open": self.open_sessions, "created": self.created, "of_scope": self.of_scope, "scope": scope}
        there = {name: limit for name, limit in limits.items() if limit is not None}
        return json.dumps(there | {"window": WINDOW_S * 1000})

    def refusal(self, limit: str, retry_ms: int) -> QuotaExceeded | CreationsExceeded | ScopeExhausted:
        """The error for what `refused` says."""
        match limit:
            case "scope":
                return ScopeExhausted(f"the token allows {self.of_scope} open sessions")
            case "created":
                retry_s = max(1, math.ceil(retry_ms / 1000))
                return CreationsExceeded(f"at most {self.created} new sessions in {WINDOW_S} s", retry_s)
            case _:
                return QuotaExceeded(f"at most {self.open_sessions} open sessions")
