"""What a job does: pictures to objects, by one network that many threads share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from sparsegen.detail import STEPS, add_detail
from sparsegen.editing import attention_likeness
from sparsegen.errors import InputError, NotCutOutError
from sparsegen.exemplars import TIMES
from sparsegen.gaussians import Gaussians
from sparsegen.generation import Pipeline
from sparsegen.joint_pose import find_cameras_together, views_from
from sparsegen.photos import full_size
from sparsegen.pose import estimate_camera, estimate_or_keep, estimate_roll, upright
from sparsegen.ranking import rank
from sparsegen.serving.jobs import QueueFull, Report
from sparsegen.serving.limits import Limits
from sparsegen.serving.pictures import Picture, cut_out_small
from sparsegen.views import Views

# Objects of fewer queries, and likenesses, that are remembered for each job.
_REMEMBERED = 16


@dataclass(frozen=True)
class Order:
    """Pictures of one object, and what to make of them; with `detail`, sharpened by their own pixels."""

    pictures: tuple[Picture, ...]
    samples: int = 1
    steps: int = 1
    seed: int = 0
    detail: bool = False


@dataclass(frozen=True)
class Camera:
    """A picture's camera: degrees, how far away in world units, whether its lens says so, by how many degrees
    the picture was turned back counterclockwise, and whether it agrees with the others of its object."""

    azimuth: float
    elevation: float
    distance: float
    lens_known: bool = False
    roll: float = 0.0
    agrees: bool = True


@dataclass(frozen=True, eq=False)
class Result:
    """What came of an order, whose pictures are cut out now; or the object of a file, without an order.

    `agreements` are the objects' PSNRs in dB to the pictures.
    """

    objects: tuple[Gaussians, ...]
    order: Order | None = None
    cameras: tuple[Camera, ...] = ()
    views: Views | None = None
    agreements: tuple[float, ...] = ()
    remembered: dict[tuple[object, ...], Any] = field(default_factory=dict)


class Studio:
    """A pipeline that serves jobs, and short questions about their objects, one pass at a time."""

    def __init__(self, pipeline: Pipeline, limits: Limits) -> None:
        # The network remembers things between passes, and so no two passes may run at once.
        self._lock = threading.RLock()
        self._room = threading.BoundedSemaphore(limits.queue)
        self._pipeline = replace(pipeline, turn=lambda: self._lock)

    def least_queries(self, result: Result) -> int | None:
        """Of how few anchor queries a result's objects can be; None if always of all."""
        made = result.order is not None and not result.order.detail  # detail takes longer than a slider may
        return self._pipeline.least_queries if made else None

    @property
    def has_exemplars(self) -> bool:
        return self._pipeline.exemplars is not None

    def make(self, order: Order, report: Report) -> Result:
        """Cut out, find the cameras, generate. Raises `InputError` for pictures that cannot be used."""
        progress = _Progress(report, self._lock)
        pipeline = replace(self._pipeline, turn=progress.turn)
        pictures = []
        for i, picture in enumerate(order.pictures):
            progress.begin("cutting out the object", 0.3 * i / len(order.pictures))
            pictures.append(_cut_out(picture, f"picture {i + 1}", pipeline.source))
        for i, picture in enumerate(pictures):
            progress.begin("finding the camera", 0.3 + 0.2 * i / len(pictures))
            pictures[i] = _estimated(pipeline, picture)
        progress.begin("placing the cameras", 0.5)
        views, cameras = _placed(pipeline, pictures)
        passes = 1 + len(TIMES) if order.steps == 1 and self.has_exemplars else order.steps
        begin, share = (0.5, 0.1 / order.samples) if order.detail else (0.7, 0.3 / order.samples)
        objects = []
        for i in range(order.samples):
            progress.begin("making the object", begin + i * share, share / passes)
            made = pipeline.finished(pipeline.sample(i, views, order.steps, order.seed))
            objects.append(made.to("cpu"))
        if order.detail:
            large = _large(pipeline, pictures, cameras, views)
            progress.begin("taking detail from the picture", 0.6, 0.4 / (len(objects) * STEPS))
            objects = [
                add_detail(made, large, pipeline.model.symmetric, STEPS, progress.step)[0] for made in objects
            ]
        best_first, scores = rank(objects, views)
        agreements = dict(zip(best_first, scores, strict=True))
        return Result(
            tuple(objects),
            replace(order, pictures=tuple(pictures)),
            cameras,
            views,
            tuple(agreements[i] for i in range(len(objects))),
        )

    def object(self, result: Result, sample: int, queries: int | None = None) -> Gaussians:
        """One object of a result, or what the network makes of its pictures with fewer anchor queries.

        Raises `InputError` where it cannot be had with so many, and `QueueFull`.
        """
        whole = result.objects[sample]
        most = whole.count // whole.expansion
        if queries is None or queries == most:
            return whole
        order, views, pipeline, least = result.order, result.views, self._pipeline, self.least_queries(result)
        if order is None or views is None or least is None:
            why = "make it without detail" if order and order.detail else "its model was not trained for that"
            raise InputError(f"this object has no fewer queries: {why}")
        if not least <= queries <= most:
            raise InputError(f"{queries} queries: expected {least} to {most}")
        return self._remember(
            result,
            (sample, queries),
            lambda: pipeline.finished(pipeline.sample(sample, views, order.steps, order.seed, queries)).to(
                "cpu"
            ),
        )

    def likeness(self, result: Result, queries: int) -> Float[Tensor, "m m"]:
        """How alike the first `queries` of a result's anchor queries attend, from `attention_likeness`."""
        views = result.views
        if views is None:
            raise InputError("an opened file says nothing of attention; grow and shrink by distance")
        return self._remember(
            result, ("likeness", queries), lambda: attention_likeness(self._pipeline, views, queries)
        )

    def _remember(self, result: Result, key: tuple[object, ...], compute: Callable[[], Any]) -> Any:
        if not self._room.acquire(blocking=False):
            raise QueueFull
        try:
            with self._lock:
                if key not in result.remembered:
                    value = compute()
                    while len(result.remembered) >= _REMEMBERED:
                        del result.remembered[next(iter(result.remembered))]
                    result.remembered[key] = value
                return result.remembered[key]
        finally:
            self._room.release()


class _Progress:
    """Tells at every pass of the network how far a job is; the pass waits for its turn."""

    def __init__(self, report: Report, lock: threading.RLock) -> None:
        self._report, self._lock = report, lock
        self._stage, self._done, self._by = "starting", 0.0, 0.0

    def begin(self, stage: str, done: float, by: float = 0.0) -> None:
        """A stage that starts with a share of the work `done`, and goes on `by` a share at every pass."""
        self._stage, self._done, self._by = stage, done, by
        self._report(stage, done)

    @contextmanager
    def turn(self) -> Iterator[None]:
        self._report(self._stage, self._done)
        with self._lock:
            yield
        self._done += self._by

    def step(self) -> None:
        """The stage has gone on by its share."""
        self._done += self._by
        self._report(self._stage, self._done)


def _cut_out(picture: Picture, name: str, model: Path) -> Picture:
    if isinstance(picture.content, Tensor):
        return picture
    try:
        return cut_out_small(picture, name, model)
    except NotCutOutError as error:
        raise InputError(f"{error}, or draw a box around the object") from None


def _estimated(pipeline: Pipeline, picture: Picture) -> Picture:
    """With the estimates of the camera, which are made where they are needed and not there yet."""
    if picture.estimates is not None or picture.known != (None, None):
        return picture
    return replace(picture, estimates=tuple(estimate_camera(pipeline, picture.rgba, picture.roll)))


def _placed(pipeline: Pipeline, pictures: list[Picture]) -> tuple[Views, tuple[Camera, ...]]:
    """The pictures as views of one object: those of several are found together, the known ones fixed."""
    rolls = [estimate_roll(pipeline, p.rgba) if p.roll is None else p.roll for p in pictures]
    cutouts, lenses = _upright(pipeline, pictures, rolls)
    candidates = [
        list(p.estimates or ()) if p.known == (None, None) else estimate_or_keep(pipeline, rgba, p.known, 0.0)
        for p, rgba in zip(pictures, cutouts, strict=True)
    ]
    if len(pictures) == 1:
        found = [candidates[0][0]]
        views = views_from(pipeline, cutouts, [(found[0].azimuth, found[0].elevation)], lenses)
        agree = [True]
    else:
        views, found = find_cameras_together(pipeline, cutouts, candidates, lenses)
        agree = [camera.agrees for camera in found]
    distances = views.cameras.centers[0].norm(dim=-1).tolist()
    return views, tuple(
        Camera(camera.azimuth, camera.elevation, distance, lens is not None, roll, agrees)
        for camera, distance, lens, roll, agrees in zip(found, distances, lenses, rolls, agree, strict=True)
    )


def _upright(
    pipeline: Pipeline, pictures: list[Picture], rolls: list[float]
) -> tuple[list[Float[Tensor, "4 _h _w"]], list[float | None]]:
    """The cut-outs turned level, and the focal lengths that show them."""
    turned = [
        upright(pipeline, p.rgba, p.focal_length, roll) for p, roll in zip(pictures, rolls, strict=True)
    ]
    return [rgba for rgba, _ in turned], [focal_length for _, focal_length in turned]


def _large(pipeline: Pipeline, pictures: list[Picture], cameras: tuple[Camera, ...], views: Views) -> Views:
    """The same views, as large as the pictures are."""
    cutouts, lenses = _upright(pipeline, pictures, [camera.roll for camera in cameras])
    angles = [(c.azimuth, c.elevation) for c in cameras]
    return views_from(pipeline, cutouts, angles, lenses, full_size(cutouts, views))
