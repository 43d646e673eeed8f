"""What an answer names as the worker's addresses: behind a NAT, those that clients reach."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address

from cluster.settings.addresses import PublicAddress

_NAMED = re.compile(r"(?m)^(a=candidate:\S+ \d+ \S+ \d+ |c=IN IP[46] )(\S+)")
_PLACE = re.compile(r"a=candidate:\S+ (\d+ \S+) \d+ (\S+ \d+) ")


def announced(answer: str, addresses: Sequence[PublicAddress]) -> str:
    """The answer with public addresses in place of the local ones, ports as they are (RFC 8839, section 5.1).

    Sockets stay where they are. Where several local addresses have one public address, candidates may become alike;
    one of these is left (RFC 8445, section 5.1.3).
    """
    if not addresses:
        return answer
    public = _NAMED.sub(lambda line: line[1] + _public(line[2], addresses), answer)
    return "".join(_once_each(section) for section in re.split(r"(?m)^(?=m=)", public))


def _public(text: str, addresses: Sequence[PublicAddress]) -> str:
    local = ip_address(text)
    if local.is_unspecified:  # of a section without a transport
        return text
    own = (each for each in addresses if each.local == local)
    any_local = (each for each in addresses if each.local is None and each.public.version == local.version)
    found = next(own, None) or next(any_local, None)
    return text if found is None else str(found.public)


def _once_each(section: str) -> str:
    seen: set[tuple[str, ...]] = set()
    kept = []
    for line in section.splitlines(keepends=True):
        place = _PLACE.match(line)
        if place is None or place.groups() not in seen:
            kept.append(line)
        if place is not None:
            seen.add(place.groups())
    return "".join(kept)
