"""Ports and addresses, as settings write them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

Address = IPv4Address | IPv6Address
_RANGE = re.compile(r"([0-9]{1,5})-([0-9]{1,5})")
_FIRST, _LAST = 1024, 65_535


@dataclass(frozen=True, slots=True)
class PublicAddress:
    """An address that a NAT maps one to one to `local`; None: to whichever the machine has of the same version."""

    public: Address
    local: Address | None = None


def read_ports(text: str) -> range:
    """`40000-40999`, both ends included. Raises ValueError."""
    if (ends := _RANGE.fullmatch(text)) is None:
        raise ValueError("not a range of ports such as 40000-40999")
    first, last = int(ends[1]), int(ends[2])
    if first > last:
        raise ValueError(f"the first port, {first}, is beyond the last one, {last}")
    if not _FIRST <= first <= last <= _LAST:
        raise ValueError(f"{text} is not within {_FIRST}-{_LAST}")
    return range(first, last + 1)


def read_public_addresses(text: str) -> tuple[PublicAddress, ...]:
    """`203.0.113.9`, or `203.0.113.9/10.0.0.5` for one of several machines; several with commas. Raises ValueError."""
    found = tuple(_read_public(entry.strip()) for entry in text.split(","))
    of = [each.local or each.public.version for each in found]
    if twice := next((each for each in of if of.count(each) > 1), None):
        subject = f"every IPv{twice} address" if isinstance(twice, int) else str(twice)
        raise ValueError(f"{subject} has more than one public address: PUBLIC/LOCAL says which local one is meant")
    return found


def _read_public(entry: str) -> PublicAddress:
    public, paired, local = entry.partition("/")
    read = PublicAddress(_read_address(public), _read_address(local) if paired else None)
    if read.local is not None and read.local.version != read.public.version:
        raise ValueError(f"{entry}: an IPv4 and an IPv6 address")
    return read


def _read_address(text: str) -> Address:
    try:
        address = ip_address(text)
    except ValueError:
        raise ValueError(f"{text or 'nothing'} is not an IP address; names are not looked up") from None
    if address.is_unspecified or address.is_multicast or address.is_loopback:
        raise ValueError(f"{text} is no machine's address")
    return address
