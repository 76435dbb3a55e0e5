"""The server: an interface of a few paths over jobs, and the page that uses it."""

from __future__ import annotations

import mimetypes
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import Body, FastAPI, File, Form, HTTPException, Request, UploadFile
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.middleware.trustedhost import TrustedHostMiddleware

from sparsegen import viewer
from sparsegen.errors import InputError
from sparsegen.gaussians import Gaussians
from sparsegen.generation import Pipeline
from sparsegen.serving.edits import Edit, Edited, Queries, apply_edits, spread
from sparsegen.serving.guard import Guard
from sparsegen.serving.jobs import Job, Jobs, QueueFull
from sparsegen.serving.limits import MAX_EDITS, MAX_PICTURES, MAX_SAMPLES, MAX_STEPS, Limits
from sparsegen.serving.work import DOWNLOADS, Order, Result, check_picture, encode, make_objects, open_file
from sparsegen.viewer import scene_frame

# Only these are ever served from disk: the path of a request is looked up here, and never opened.
_PAGE = Path(__file__).parent / "page"
_STATIC = {
    "": _PAGE / "index.html",
    **{name: _PAGE / name for name in ("page.css", "page.js", "api.js", "editor.js")},
    "splat.js": viewer.FOLDER / "splat.js",
}
# Names that only this machine answers to.
THIS_MACHINE = ("127.0.0.1", "localhost", "[::1]")

_BINARY = "application/octet-stream"
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

_Degrees = Annotated[float | None, Form(ge=-360, le=360, allow_inf_nan=False)]


class Edits(BaseModel):
    """Edits of one object, in order."""

    edits: Annotated[list[Edit], Field(max_length=MAX_EDITS)] = []


class Spread(Edits):
    """A selection to grow by a distance in world units, or to shrink where that is negative."""

    queries: Queries
    distance: Annotated[float, Field(ge=-1000, le=1000, allow_inf_nan=False)]


def create_app(
    pipeline: Pipeline,
    limits: Limits | None = None,
    hosts: Sequence[str] = THIS_MACHINE,
    clock: Callable[[], float] = time.monotonic,
) -> FastAPI:
    """The server as an ASGI application; `hosts` are the names that it answers to ("*": any)."""
    limits = limits or Limits()
    jobs: Jobs[Order, Result] = Jobs(lambda o, report: make_objects(pipeline, o, report), limits, clock)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        jobs.close()

    app = FastAPI(title="sparsegen", docs_url=None, redoc_url=None, lifespan=lifespan, responses=_REFUSALS)
    app.add_middleware(Guard, upload_bytes=limits.upload_bytes)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))
    app.add_exception_handler(InputError, _unusable)
    app.add_exception_handler(QueueFull, _queue_full)
    _add_jobs(app, jobs, limits)
    _add_objects(app, jobs)
    for name, path in _STATIC.items():
        _add_static(app, name, path)
    return app


def _add_jobs(app: FastAPI, jobs: Jobs[Order, Result], limits: Limits) -> None:
    @app.post("/api/jobs", status_code=202)
    def make(
        pictures: Annotated[list[UploadFile], File(max_length=MAX_PICTURES)],
        samples: Annotated[int, Form(ge=1, le=MAX_SAMPLES)] = 1,
        steps: Annotated[int, Form(ge=1, le=MAX_STEPS)] = 1,
        seed: Annotated[int, Form(ge=0, lt=2**31)] = 0,
        azimuth: _Degrees = None,
        elevation: _Degrees = None,
    ) -> dict[str, Any]:
        """Make objects from one picture, or a few of the same object."""
        contents = tuple(picture.file.read() for picture in pictures)
        for content in contents:
            check_picture(content, limits)
        order = Order(contents, samples, steps, seed, azimuth, elevation)
        return _told(jobs.submit(order), jobs)

    @app.post("/api/files", status_code=201)
    def open_gaussians(file: Annotated[UploadFile, File()]) -> dict[str, Any]:
        """Open a Gaussian file to look at it and edit it."""
        return _told(jobs.add(open_file(file.file.read(), limits)), jobs)

    @app.get("/api/jobs/{job_id}")
    def look(job_id: str) -> dict[str, Any]:
        """How far a job is, and what it found."""
        return _told(_known(jobs.get(job_id)), jobs)

    @app.delete("/api/jobs/{job_id}")
    def cancel(job_id: str) -> dict[str, Any]:
        """Cancel a job, or forget its result."""
        return _told(_known(jobs.cancel(job_id)), jobs)

    @app.get("/api/jobs/{job_id}/cutouts/{index}", response_class=Response)
    def cutout(job_id: str, index: int) -> Response:
        """A picture without its background, as PNG."""
        cutouts = _result(jobs, job_id).cutouts
        if not 0 <= index < len(cutouts):
            raise HTTPException(404, "there is no such picture")
        return Response(cutouts[index], media_type="image/png")


def _add_objects(app: FastAPI, jobs: Jobs[Order, Result]) -> None:
    def find(job_id: str, sample: int) -> Gaussians | None:
        job = jobs.get(job_id)
        objects = () if job is None or job.result is None else job.result.objects
        return objects[sample] if 0 <= sample < len(objects) else None

    def edited(job_id: str, sample: int, edits: list[Edit]) -> Edited:
        _result(jobs, job_id)
        gaussians = find(job_id, sample)
        if gaussians is None:
            raise HTTPException(404, "there is no such sample")
        return apply_edits(gaussians, edits, find)

    @app.post("/api/jobs/{job_id}/samples/{sample}/scene", response_class=Response)
    def scene(job_id: str, sample: int, body: Edits) -> Response:
        """One object after edits, as the viewer takes it."""
        return Response(edited(job_id, sample, body.edits).scene(), media_type=_BINARY)

    @app.post("/api/jobs/{job_id}/samples/{sample}/selection")
    def selection(job_id: str, sample: int, body: Spread) -> dict[str, list[int]]:
        """A selection of queries, grown or shrunk."""
        return {"queries": spread(edited(job_id, sample, body.edits), body.queries, body.distance)}

    @app.post("/api/jobs/{job_id}/samples/{sample}/file", response_class=Response)
    def file(
        job_id: str,
        sample: int,
        kind: Literal[DOWNLOADS],  # type: ignore[valid-type]
        body: Annotated[Edits, Body()],
    ) -> Response:
        """One object after edits, as a file."""
        data = encode(edited(job_id, sample, body.edits).result(), kind)
        headers = {"Content-Disposition": f'attachment; filename="object.{kind}"'}
        return Response(data, media_type="text/html" if kind == "html" else _BINARY, headers=headers)


def _add_static(app: FastAPI, name: str, path: Path) -> None:
    data, kind = path.read_bytes(), mimetypes.guess_type(path.name)[0]

    @app.get(f"/{name}", include_in_schema=False)
    def static() -> Response:
        return Response(data, media_type=kind)


def _known(job: Job[Order, Result] | None) -> Job[Order, Result]:
    if job is None:
        raise HTTPException(404, "this object is gone: results are kept for a while only; make it again")
    return job


def _result(jobs: Jobs[Order, Result], job_id: str) -> Result:
    job = _known(jobs.get(job_id))
    if job.result is None:
        raise HTTPException(409, f"there is no object yet: the job is {job.state}")
    return job.result


def _told(job: Job[Order, Result], jobs: Jobs[Order, Result]) -> dict[str, Any]:
    told: dict[str, Any] = {
        name: getattr(job, name) for name in ("id", "state", "stage", "progress", "error")
    }
    told["ahead"] = jobs.ahead(job.id)
    if job.result is not None:
        first = job.result.objects[0]
        told |= {
            "samples": len(job.result.objects),
            "pictures": len(job.result.cutouts),
            "gaussians": first.count,
            "queries": first.count // first.expansion,
            "frame": scene_frame(first),
            "cameras": [
                [{"azimuth": c.azimuth, "elevation": c.elevation} for c in cameras[:3]]
                for cameras in job.result.cameras
            ],
        }
    return told


async def _unusable(_: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, 422)


async def _queue_full(_: Request, __: Exception) -> Response:
    told = {"detail": "too many pictures wait already; try again in a little while"}
    return JSONResponse(told, 429, {"Retry-After": "10"})
