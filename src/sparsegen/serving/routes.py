"""What the server can be asked: for jobs that make objects, and for their objects, edited."""

from __future__ import annotations

from dataclasses import replace
from threading import Lock
from typing import Annotated, Any, Literal

from fastapi import Body, FastAPI, File, Form, HTTPException, UploadFile
from fastapi.responses import Response
from pydantic import BaseModel, Field

from sparsegen.box import Box
from sparsegen.editing import query_count
from sparsegen.errors import InputError
from sparsegen.formats.images import check_image
from sparsegen.gaussians import Gaussians
from sparsegen.serving.edits import Edit, Edited, Queries, apply_edits, spread, spread_alike
from sparsegen.serving.files import DOWNLOADS, encode, open_file
from sparsegen.serving.jobs import Job, Jobs
from sparsegen.serving.limits import MAX_EDITS, MAX_PICTURES, MAX_SAMPLES, MAX_STEPS, Limits
from sparsegen.serving.pictures import Picture
from sparsegen.serving.studio import Order, Result, Studio
from sparsegen.serving.telling import Told, tell

_BINARY = "application/octet-stream"

_Angle = Annotated[float, Field(ge=-360, le=360, allow_inf_nan=False)]
_Roll = Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)]
_Samples = Annotated[int, Field(ge=1, le=MAX_SAMPLES)]
_Steps = Annotated[int, Field(ge=1, le=MAX_STEPS)]
_Seed = Annotated[int, Field(ge=0, lt=2**31)]


class Direction(BaseModel):
    """Where a picture was taken from, in degrees; 0, 0 is straight in front. `roll` says how far the object
    is turned clockwise in the picture, null where that is to be found."""

    azimuth: _Angle
    elevation: _Angle
    roll: _Roll | None = None


class Again(BaseModel):
    """How to make an object again: with these cameras, one for each picture, null where it is to be found."""

    cameras: Annotated[list[Direction | None], Field(max_length=MAX_PICTURES)] = []
    samples: _Samples = 1
    steps: _Steps = 1
    seed: _Seed = 0
    detail: bool = False


class Edits(BaseModel):
    """Edits of one object, in order; `keep` makes it of only so many of its anchor queries."""

    edits: Annotated[list[Edit], Field(max_length=MAX_EDITS)] = []
    keep: Annotated[int, Field(ge=1, lt=2**31)] | None = None


class Spread(Edits):
    """A selection to grow by a distance in world units, or by a number of queries that attend alike; to
    shrink where that is negative."""

    queries: Queries
    distance: Annotated[float, Field(ge=-1000, le=1000, allow_inf_nan=False)] = 0
    alike: Annotated[int, Field(gt=-(2**31), lt=2**31)] = 0


def add_jobs(app: FastAPI, jobs: Jobs[Order, Result], studio: Studio, limits: Limits) -> None:
    """Making objects, and how far that is."""
    opening = Lock()  # a file of a few megabytes may take a hundred times as many while it is read

    def told(job: Job[Order, Result]) -> Told:
        return tell(job, jobs.ahead(job.id), studio)

    @app.post("/api/jobs", status_code=202, response_model_exclude_unset=True)
    def make(
        pictures: Annotated[list[UploadFile], File(max_length=MAX_PICTURES)],
        samples: Annotated[_Samples, Form()] = 1,
        steps: Annotated[_Steps, Form()] = 1,
        seed: Annotated[_Seed, Form()] = 0,
        detail: Annotated[bool, Form()] = False,
        azimuth: Annotated[_Angle | None, Form()] = None,
        elevation: Annotated[_Angle | None, Form()] = None,
        roll: Annotated[_Roll | None, Form()] = None,
        boxes: Annotated[list[str] | None, Form(max_length=MAX_PICTURES)] = None,
    ) -> Told:
        """Make objects from one picture, or a few of the same object; the angles are the first picture's.
        With `detail` they are sharpened by the pictures. `boxes` say where in each picture the object is:
        `LEFT,TOP,RIGHT,BOTTOM` in pixels of the upright picture, nothing for one without other objects."""
        contents = [picture.file.read() for picture in pictures]
        for content in contents:
            check_image(content, limits.pixels)
        if len(boxes or ()) > len(contents):
            raise InputError(f"{len(boxes or ())} boxes for {len(contents)} pictures; give one each")
        found = [Box.parse(box, f"box {i}") if box.strip() else None for i, box in enumerate(boxes or (), 1)]
        found += [None] * (len(contents) - len(found))
        first, *others = map(Picture, contents, found)
        first = replace(first, known=(azimuth, elevation), roll=roll)
        return told(jobs.submit(Order((first, *others), samples, steps, seed, detail)))

    @app.post("/api/jobs/{job_id}/again", status_code=202, response_model_exclude_unset=True)
    def make_again(job_id: str, body: Again) -> Told:
        """Make objects from the pictures of an earlier job."""
        order = _result(jobs, job_id).order
        if order is None:
            raise InputError("this object was opened from a file; there is no picture to make it from")
        if len(body.cameras) > len(order.pictures):
            raise InputError(f"{len(body.cameras)} cameras for {len(order.pictures)} pictures; give one each")
        cameras = body.cameras + [None] * (len(order.pictures) - len(body.cameras))
        taken = tuple(_taken_from(*each) for each in zip(order.pictures, cameras, strict=True))
        return told(jobs.submit(Order(taken, body.samples, body.steps, body.seed, body.detail)))

    @app.post("/api/files", status_code=201, response_model_exclude_unset=True)
    def open_gaussians(file: Annotated[UploadFile, File()]) -> Told:
        """Open a Gaussian file to look at it and edit it."""
        named_splat = (file.filename or "").lower().endswith(".splat")  # which has no header to be told by
        with opening:
            return told(jobs.add(Result((open_file(file.file.read(), limits, named_splat),))))

    @app.get("/api/jobs/{job_id}", response_model_exclude_unset=True)
    def look(job_id: str) -> Told:
        """How far a job is, and what it found."""
        return told(_known(jobs.get(job_id)))

    @app.delete("/api/jobs/{job_id}", response_model_exclude_unset=True)
    def cancel(job_id: str) -> Told:
        """Cancel a job, or forget its result."""
        return told(_known(jobs.cancel(job_id)))

    @app.get("/api/jobs/{job_id}/cutouts/{index}", response_class=Response, responses=_as("image/png"))
    def cutout(job_id: str, index: int) -> Response:
        """A picture without its background, as PNG."""
        order = _result(jobs, job_id).order
        if order is None or not 0 <= index < len(order.pictures):
            raise HTTPException(404, "there is no such picture")
        return Response(order.pictures[index].png(), media_type="image/png")


def add_objects(app: FastAPI, jobs: Jobs[Order, Result], studio: Studio) -> None:
    """Objects after edits: to look at, to select in, to download."""

    def find(job_id: str, sample: int, keep: int | None) -> Gaussians | None:
        """The other object of a swap, of as many queries; that of a file has those that it has."""
        job = jobs.get(job_id)
        if job is None or job.result is None or not 0 <= sample < len(job.result.objects):
            return None
        return studio.object(job.result, sample, keep if job.result.order else None)

    def edited(job_id: str, sample: int, body: Edits) -> Edited:
        result = _result(jobs, job_id)
        if not 0 <= sample < len(result.objects):
            raise HTTPException(404, "there is no such sample")
        gaussians = studio.object(result, sample, body.keep)
        whole = query_count(result.objects[sample])
        return apply_edits(gaussians, body.edits, lambda job, other: find(job, other, body.keep), whole)

    @app.post("/api/jobs/{job_id}/samples/{sample}/scene", response_class=Response, responses=_as(_BINARY))
    def scene(job_id: str, sample: int, body: Edits) -> Response:
        """One object after edits, as the viewer takes it."""
        return Response(edited(job_id, sample, body).scene(), media_type=_BINARY)

    @app.post("/api/jobs/{job_id}/samples/{sample}/selection")
    def selection(job_id: str, sample: int, body: Spread) -> dict[str, list[int]]:
        """A selection of queries, grown or shrunk."""
        found = edited(job_id, sample, body)
        queries = spread(found, body.queries, body.distance)
        if body.alike:
            likeness = studio.likeness(_result(jobs, job_id), query_count(found.gaussians))
            queries = spread_alike(found, queries, likeness, body.alike)
        return {"queries": queries}

    @app.post(
        "/api/jobs/{job_id}/samples/{sample}/file",
        response_class=Response,
        responses=_as(_BINARY, "text/html"),
    )
    def file(
        job_id: str,
        sample: int,
        kind: Literal[DOWNLOADS],  # type: ignore[valid-type]
        body: Annotated[Edits, Body()],
    ) -> Response:
        """One object after edits, as a file."""
        data = encode(edited(job_id, sample, body).result(), kind)
        headers = {"Content-Disposition": f'attachment; filename="object.{kind}"'}
        return Response(data, media_type="text/html" if kind == "html" else _BINARY, headers=headers)


def _as(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """For the schema: an answer of bytes, of one of these content types."""
    return {200: {"content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in kinds}}}


def _taken_from(picture: Picture, camera: Direction | None) -> Picture:
    if camera is None:
        return replace(picture, known=(None, None), roll=None)
    return replace(picture, known=(camera.azimuth, camera.elevation), roll=camera.roll)


def _known(job: Job[Order, Result] | None) -> Job[Order, Result]:
    if job is None:
        raise HTTPException(404, "this object is gone: results are kept for a while; open or make it again")
    return job


def _result(jobs: Jobs[Order, Result], job_id: str) -> Result:
    job = _known(jobs.get(job_id))
    if job.result is None:
        raise HTTPException(409, f"there is no object yet: the job is {job.state}")
    return job.result
