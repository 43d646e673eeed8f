"""Networks of `benchmarks.chaos`: the cluster's, and one for each who directs, joined to it by a wire that can be lost.

The cluster has one address, whatever becomes of the wires; a client has another one with each new wire.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle

from tests.support.netns import Namespace, NoNamespaces, cut, namespaces, reside, unplugged, wire

CLUSTER = "198.18.47.1"
CLIENTS = "198.18.{}.{}"
FIRST = 48


class Home:
    """Where a client is: a network with one wire, to the cluster's."""

    def __init__(self, network: Namespace, cluster: Namespace, number: int) -> None:
        self.network = network
        self._cluster = cluster
        self._addresses = cycle(CLIENTS.format(FIRST + number, last) for last in range(1, 255))
        self._plug()

    def _plug(self) -> None:
        address = next(self._addresses)
        wire(self._cluster, f"{CLUSTER} peer {address}/32", self.network, f"{address} peer {CLUSTER}/32")

    @contextmanager
    def unplugged(self) -> Iterator[None]:
        """The wire is loose in the block; afterwards all is as it was."""
        with unplugged(self.network, self._cluster):
            yield

    @contextmanager
    def moving(self) -> Iterator[None]:
        """There is no wire in the block, and after it another one: nothing of what was connected is any more."""
        cut(self.network, self._cluster)
        try:
            yield
        finally:
            self._plug()


@contextmanager
def homes(count: int) -> Iterator[list[Home]]:
    """So many; this thread, and all that it starts, is in the cluster's network meanwhile. Raises NoNamespaces."""
    with namespaces("cluster", *(f"home-{number}" for number in range(count))) as (cluster, *networks):
        try:
            reside(cluster, CLUSTER)
            found = [Home(network, cluster, number) for number, network in enumerate(networks)]
        except subprocess.CalledProcessError as error:
            raise NoNamespaces(error.stderr) from error
        with cluster.entered():
            yield found
