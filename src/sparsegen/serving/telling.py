"""A job as the page, and others who ask, are told of it."""

from __future__ import annotations

from pydantic import BaseModel

from sparsegen.editing import query_count
from sparsegen.serving.jobs import Job, State
from sparsegen.serving.studio import Order, Result, Studio
from sparsegen.viewer import scene_frame


class ToldCamera(BaseModel):
    """The camera of one picture: degrees, how far away it stood in world units, and by how many degrees the
    picture was turned back counterclockwise, because it seemed tilted."""

    azimuth: float
    elevation: float
    distance: float
    lens_known: bool
    roll: float
    agrees: bool


class ToldEstimate(BaseModel):
    """A guess at a picture's camera, in degrees, and how likely it is."""

    azimuth: float
    elevation: float
    chance: float | None


class Frame(BaseModel):
    """The point that the viewer's camera turns around, and how far away it starts, in world units."""

    target: tuple[float, float, float]
    radius: float


class Told(BaseModel):
    """How far a job is: `ahead` wait before it; what follows is there once it is done.

    `agreements` are PSNRs in dB of each sample to the pictures; a file has no pictures, and so no cameras.
    """

    id: str
    state: State
    stage: str
    progress: float
    error: str
    ahead: int
    samples: int = 0
    gaussians: int = 0
    queries: int = 0
    least_queries: int | None = None
    detail: bool = False
    exemplars: bool = False
    frame: Frame | None = None
    agreements: list[float] = []
    cameras: list[ToldCamera] = []
    estimates: list[list[ToldEstimate]] = []


def tell(job: Job[Order, Result], ahead: int, studio: Studio) -> Told:
    """What there is to say of a job; nothing is set of an object that is not there."""
    state = {name: getattr(job, name) for name in ("id", "state", "stage", "progress", "error")}
    if job.result is None:
        return Told(**state, ahead=ahead)
    first, order = job.result.objects[0], job.result.order
    return Told(
        **state,
        ahead=ahead,
        samples=len(job.result.objects),
        gaussians=first.count,
        queries=query_count(first),
        least_queries=studio.least_queries(job.result),
        detail=order is not None and order.detail,
        exemplars=studio.has_exemplars,
        frame=Frame.model_validate(scene_frame(first)),
        agreements=list(job.result.agreements),
        cameras=[ToldCamera(**vars(camera)) for camera in job.result.cameras],
        estimates=[
            [
                ToldEstimate(azimuth=e.azimuth, elevation=e.elevation, chance=e.chance)
                for e in (picture.estimates or ())[:3]
            ]
            for picture in (order.pictures if order else ())
        ],
    )
