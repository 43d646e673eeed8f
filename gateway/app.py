"""The gateway's ASGI app. It knows no server: the same object runs under uvicorn, Serve and in tests."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import FastAPI

from cluster.client import ClusterClient
from cluster.settings import Settings
from gateway import clips, page, sessions, signalling, snapshots, system, tokens, uploads, usage
from gateway.authority import Authority
from gateway.cors import Cors
from gateway.errors import install_error_handlers
from gateway.limits import BodyLimit
from gateway.metrics import Metrics
from gateway.observe import Observe
from gateway.openapi import DocumentedApp, refusals
from gateway.versions import VersionHeaders

_DESCRIPTION = """\
Sessions of interactive video models over WebRTC.

`POST /tokens` with an API key buys a token; `POST /sessions` opens a session with it; once the session shows
`capabilities`, an offer to `…/transport/webrtc/connections/{connection_id}/sdp_params` connects to its worker, and
everything else goes over the data channels. Errors are `{"detail", "code"}` with a stable `code`.
"""


def create_app(cluster: ClusterClient, settings: Settings) -> FastAPI:
    """The app on a connected cluster. The caller owns `cluster` and closes it after the app."""
    app = DocumentedApp(
        title="longlive-cluster",
        version=version("longlive-cluster"),
        description=_DESCRIPTION,
        redirect_slashes=False,
        responses=refusals(413, "5XX"),
    )
    app.state.cluster = cluster
    app.state.settings = settings
    app.state.metrics = Metrics()
    app.state.authority = Authority(settings, cluster.jwt_secret)
    for room in (tokens, sessions, snapshots, signalling, uploads, clips, usage, system, page):
        app.include_router(room.router)
    page.mount_static(app)
    install_error_handlers(app)
    _add_layers(app, settings)
    return app


def _add_layers(app: FastAPI, settings: Settings) -> None:
    """The innermost layer is added first."""
    app.add_middleware(BodyLimit, max_bytes=settings.limits.max_body_bytes, streamed=uploads.UPLOAD_PATH)
    app.add_middleware(Observe, metrics=app.state.metrics)
    app.add_middleware(VersionHeaders)
    app.add_middleware(Cors)
