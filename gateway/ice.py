"""STUN and TURN servers for a client, with credentials that expire.

TURN REST: `username = expiry:name`, `password = base64(hmac-sha1(secret, username))`, as coturn checks it under
`use-auth-secret` (draft-uberti-behave-turn-rest).
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from cluster.settings import TurnSettings
from wire.http import IceCredentials, IceServer


def ice_servers(turn: TurnSettings, tenant: str, now: int) -> list[IceServer]:
    """The configured servers. `now` in unix seconds; STUN needs no credentials and gets none.

    The name in the credentials is the tenant: the TURN server counts its relays and logs it, and bounds them by it.
    """
    stun = [uri for uri in turn.uris if uri.startswith(("stun:", "stuns:"))]
    relays = [uri for uri in turn.uris if uri not in stun]
    servers = [IceServer(uris=stun)] if stun else []
    if relays:
        assert turn.secret is not None, "the settings see to it"
        credentials = turn_credentials(turn.secret.get_secret_value(), tenant, now + turn.ttl_s)
        servers.append(IceServer(uris=relays, credentials=credentials))
    return servers


def turn_credentials(secret: str, name: str, expires_at: int) -> IceCredentials:
    """Credentials that the TURN server accepts until `expires_at` (unix seconds)."""
    username = f"{expires_at}:{name}"
    digest = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    return IceCredentials(username=username, password=base64.b64encode(digest).decode())
