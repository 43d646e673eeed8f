"""What the routes ask for by type: the cluster, the settings and the token authority of this app.

What every poll goes through asks with `cluster_of` and `authority_of` instead: a dependency of a dependency costs it
as much as reading its session's record. The others are coroutines, as FastAPI sends a plain function through a thread.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from cluster.client import ClusterClient
from cluster.settings import Settings
from gateway.authority import Authority


def cluster_of(request: Request) -> ClusterClient:
    """The app's cluster."""
    cluster: ClusterClient = request.app.state.cluster
    return cluster


def authority_of(request: Request) -> Authority:
    """The app's token authority."""
    authority: Authority = request.app.state.authority
    return authority


async def _cluster(request: Request) -> ClusterClient:
    return cluster_of(request)


async def _authority(request: Request) -> Authority:
    return authority_of(request)


async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


ClusterDep = Annotated[ClusterClient, Depends(_cluster)]
SettingsDep = Annotated[Settings, Depends(_settings)]
AuthorityDep = Annotated[Authority, Depends(_authority)]
