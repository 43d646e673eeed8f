"""What the routes ask for by type: the cluster, the settings and the token authority of this app.

All are coroutines, as FastAPI sends a plain function through a thread.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from cluster.client import ClusterClient
from cluster.settings import Settings
from gateway.authority import Authority


async def _cluster(request: Request) -> ClusterClient:
    cluster: ClusterClient = request.app.state.cluster
    return cluster


async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def _authority(request: Request) -> Authority:
    authority: Authority = request.app.state.authority
    return authority


ClusterDep = Annotated[ClusterClient, Depends(_cluster)]
SettingsDep = Annotated[Settings, Depends(_settings)]
AuthorityDep = Annotated[Authority, Depends(_authority)]
