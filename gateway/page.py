"""The studio at `/studio`: plain modules from `gateway/static`, nothing built, nothing fetched from elsewhere."""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse, RedirectResponse
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

STATIC = Path(__file__).parent / "static"

_PAGE_HEADERS = {
    # the page holds an API key in a field: no foreign script, style or frame comes near it
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "media-src 'self' blob: mediastream:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

router = APIRouter()


@router.api_route("/studio", methods=["GET", "HEAD"], include_in_schema=False)
async def studio() -> FileResponse:
    """The page."""
    return FileResponse(STATIC / "studio.html", media_type="text/html", headers=_PAGE_HEADERS)


@router.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
async def front_door() -> RedirectResponse:
    """To the page, by a relative address: the gateway may sit under a prefix. A browser keeps the fragment."""
    return RedirectResponse("studio", headers={"Cache-Control": "no-cache"})


class _Static(StaticFiles):
    """Files that browsers ask about again: modules of two releases must not meet on one page."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response


def mount_static(app: FastAPI) -> None:
    """Serve the page's files under `/static`."""
    mimetypes.add_type("text/javascript", ".js")  # a module of any other type is refused; hosts' tables differ
    app.mount("/static", _Static(directory=STATIC), name="static")
