"""The server: an interface of a few paths over jobs, and the page that uses it."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response

from sparsegen import viewer
from sparsegen.errors import InputError
from sparsegen.generation import Pipeline
from sparsegen.serving.guard import Guard
from sparsegen.serving.hosts import THIS_MACHINE, KnownHosts
from sparsegen.serving.jobs import Jobs, QueueFull
from sparsegen.serving.limits import Limits
from sparsegen.serving.routes import add_jobs, add_objects
from sparsegen.serving.studio import Order, Result, Studio

# Only these are ever served from disk: the path of a request is looked up here, and never opened.
_PAGE = Path(__file__).parent / "page"
_STATIC = {
    "": _PAGE / "index.html",
    **{path.name: path for path in sorted(_PAGE.iterdir()) if path.suffix in (".js", ".css")},
    **{name: viewer.FOLDER / name for name in ("spark.min.js", "orbit.js", "splat.js")},
}
# Said here: what a system calls these kinds may be anything, and browsers insist on the right one.
_KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}

_REFUSALS: dict[int | str, dict[str, Any]] = {
    code: {"description": text}
    for code, text in (
        (400, "no such host, or a body that is no form"),
        (403, "of another site"),
        (404, "no such object, or not any more"),
        (409, "not finished"),
        (411, "length not known"),
        (413, "too large"),
        (422, "cannot be used"),
        (429, "too many wait"),
    )
}


def create_app(
    pipeline: Pipeline,
    limits: Limits | None = None,
    hosts: Sequence[str] = THIS_MACHINE,
    any_address: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> FastAPI:
    """The server as an ASGI application; `hosts` are the names that it answers to.

    With `any_address` it also answers to every IP address.
    """
    limits = limits or Limits()
    studio = Studio(pipeline, limits)
    jobs: Jobs[Order, Result] = Jobs(studio.make, limits, clock)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        jobs.close()

    app = FastAPI(title="sparsegen", docs_url=None, redoc_url=None, lifespan=lifespan, responses=_REFUSALS)
    app.add_middleware(Guard, upload_bytes=limits.upload_bytes)
    app.add_middleware(KnownHosts, names=hosts, any_address=any_address)
    app.add_exception_handler(InputError, _unusable)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(QueueFull, _queue_full)
    add_jobs(app, jobs, studio, limits)
    add_objects(app, jobs, studio)
    for name, path in _STATIC.items():
        _add_static(app, name, path)
    return app


def _add_static(app: FastAPI, name: str, path: Path) -> None:
    data, kind = path.read_bytes(), _KINDS[path.suffix]

    @app.api_route(f"/{name}", methods=["GET", "HEAD"], include_in_schema=False)
    def static() -> Response:
        return Response(data, media_type=kind)


async def _unusable(_: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, 422)


async def _invalid(_: Request, error: Exception) -> Response:
    """What is wrong where, without the values: NaN and half characters can be read, but not written."""
    assert isinstance(error, RequestValidationError)
    told = [{name: found[name] for name in ("loc", "msg", "type")} for found in error.errors()]
    return Response(json.dumps({"detail": told}), 422, media_type="application/json")


async def _queue_full(_: Request, __: Exception) -> Response:
    told = {"detail": "too many pictures wait already; try again in a little while"}
    return JSONResponse(told, 429, {"Retry-After": "10"})
