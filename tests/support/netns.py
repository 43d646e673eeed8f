"""Networks of a test's own: Linux network namespaces, joined by wires, with no route that is not given here.

Needs iproute2 and the right to make namespaces (root); `NoNamespaces` says that it is missing.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class NoNamespaces(Exception):
    """This machine does not let us make network namespaces."""


@dataclass(frozen=True)
class Namespace:
    """One network. Sockets belong to the namespace that their thread is in when they are made."""

    name: str

    @property
    def prefix(self) -> tuple[str, ...]:
        """Runs a command in it."""
        return ("ip", "netns", "exec", self.name)

    def pids(self) -> set[int]:
        """Of the processes in it."""
        return set(map(int, _ip("netns", "pids", self.name).split()))

    def enter(self) -> None:
        """Move this thread into it."""
        _move(f"/run/netns/{self.name}")

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This thread is in it, and then back where it was."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            self.enter()
            yield
        finally:
            _move(f"/proc/self/fd/{home}")
            os.close(home)


def _move(path: str) -> None:
    namespace = os.open(path, os.O_RDONLY)
    try:
        if _libc.setns(namespace, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns: {path}")
    finally:
        os.close(namespace)


@contextmanager
def namespaces(*names: str) -> Iterator[list[Namespace]]:
    """New networks, each with its loopback alone. Raises NoNamespaces."""
    made = [Namespace(f"llc-{os.getpid()}-{name}") for name in names]
    with ExitStack() as stack:
        for each in made:
            try:
                _ip("netns", "add", each.name)
            except (OSError, subprocess.CalledProcessError) as error:
                raise NoNamespaces(str(error)) from error
            stack.callback(_ip, "netns", "delete", each.name)
            _ip("-netns", each.name, "link", "set", "lo", "up")
        yield made


def wire(one: Namespace, one_address: str, other: Namespace, other_address: str) -> None:
    """Join two networks. The addresses have their network's length, `198.51.100.1/24`, or that of the one other address
    that the wire leads to: `198.51.100.1 peer 203.0.113.1/32`."""
    near, far = _device(other), _device(one)
    _ip("-netns", one.name, "link", "add", "name", near, "type", "veth", "peer", "name", far, "netns", other.name)
    for each, end, address in ((one, near, one_address), (other, far, other_address)):
        _ip("-netns", each.name, "address", "add", *address.split(), "dev", end)
        _ip("-netns", each.name, "link", "set", end, "up")


def cut(one: Namespace, other: Namespace) -> None:
    """Take the wire between two networks away, and the addresses of its ends with it."""
    _ip("-netns", one.name, "link", "delete", _device(other))


def reside(network: Namespace, address: str) -> None:
    """Give a network an IPv4 address that stays whatever wires it has. It is the one by which its programs know it:
    what leads nowhere else leads back to it."""
    _ip("-netns", network.name, "address", "add", f"{address}/32", "dev", "lo")
    _ip("-netns", network.name, "route", "add", "default", "dev", "lo", "src", address)


def one_to_one(nat: Namespace, *, public: str, local: str, ports: range, gateway: str, of: Namespace) -> None:
    """Have `nat` map a public IPv4 address to a machine in the network `of`, whose way out is `gateway`.

    As a cloud's firewall does, it lets these UDP ports in and what answers them out, and nothing else. Needs nftables;
    raises NoNamespaces.
    """
    rules = f"""
        table ip nat {{
          chain in {{
            type nat hook prerouting priority dstnat
            ip daddr {public} dnat to {local}
          }}
        }}
        table ip filter {{
          chain through {{
            type filter hook forward priority filter; policy drop
            ct state established accept
            ct status dnat udp dport {ports[0]}-{ports[-1]} accept
          }}
        }}
    """
    _ip("-netns", nat.name, "address", "add", f"{public}/32", "dev", "lo")  # so that it answers for the address
    _ip("-netns", of.name, "route", "add", "default", "via", gateway)
    _run(*nat.prefix, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
    try:
        subprocess.run([*nat.prefix, "nft", "-f", "-"], input=rules, check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        raise NoNamespaces(error.stderr) from error


@contextmanager
def unplugged(network: Namespace, other: Namespace) -> Iterator[None]:
    """The wire to the other network hangs loose at this end in the block: at the other one, nothing comes any more."""
    device = _device(other)
    _ip("-netns", network.name, "link", "set", device, "down")
    try:
        yield
    finally:
        _ip("-netns", network.name, "link", "set", device, "up")


def _device(towards: Namespace) -> str:
    return f"to-{towards.name[-8:]}"


def _ip(*arguments: str) -> str:
    return _run("ip", *arguments)


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
