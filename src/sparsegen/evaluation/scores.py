"""Scores of a predictor on held-out objects, view by view and object by object."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from sparsegen import metrics
from sparsegen.data.packed import Viewsets
from sparsegen.data.protocols import Protocol
from sparsegen.errors import InputError
from sparsegen.evaluation import utilization
from sparsegen.evaluation.predictors import Prediction, Predictor
from sparsegen.evaluation.progress import WHOLE, ObjectScores, Progress, Share
from sparsegen.evaluation.soundness import find_problems, not_finite
from sparsegen.evaluation.tasks import make_task, views_of
from sparsegen.splatting import render
from sparsegen.views import Views

# Cameras of two objects count as the same if no matrix entry differs by more.
_SAME_CAMERA = 1e-3
_POLL_SECONDS = 0.2

PictureMetric = Callable[[Tensor, Tensor], Tensor]
# Called with each object's name, its prediction (batch 1) and its true pictures.
OnObject = Callable[[str, Prediction, Views], None]


@dataclass(frozen=True)
class Scores:
    """What one predictor scored, with nothing averaged away.

    `per_view` holds pictures' metrics for the judged `target_views`, `at_inputs` for the protocol's input
    views; `per_object` the means over the judged views, and what belongs to an object as a whole. `angles`
    are the judged views' to the nearest input view, in degrees; `opacities` counts each object's Gaussians
    by opacity, where it has any. All are NaN (or 0) for the objects in `problems`, which says what is
    wrong with them; no mean includes them.
    """

    name: str
    protocol: Protocol
    objects: tuple[str, ...]
    target_views: tuple[int, ...]
    per_view: dict[str, Float[Tensor, "n v"]]
    per_object: dict[str, Float[Tensor, "n"]]
    problems: dict[str, str]
    at_inputs: dict[str, Float[Tensor, "n i"]] = field(default_factory=dict)
    angles: Float[Tensor, "n v"] | None = None
    opacities: Float[Tensor, "n bins"] | None = None

    @property
    def scored(self) -> list[int]:
        """Positions of the objects without a problem."""
        return [i for i, name in enumerate(self.objects) if name not in self.problems]

    def summary(self) -> dict[str, tuple[float, float]]:
        """Mean and standard error over the scored objects of every metric."""
        return {key: metrics.mean_std_error(values[self.scored]) for key, values in self.per_object.items()}


@torch.inference_mode()
def evaluate(
    predictor: Predictor,
    viewsets: Viewsets,
    protocol: Protocol,
    *,
    name: str,
    batch_size: int = 8,
    seed: int = 0,
    shuffled_inputs: bool = False,
    picture_metrics: dict[str, PictureMetric] | None = None,
    progress: bool = False,
    resume: Progress | None = None,
    on_object: OnObject | None = None,
    depths: Float[np.ndarray, "n all_views h w"] | None = None,
    share: Share = WHOLE,
) -> Scores:
    """Score `predictor` on every object of `viewsets`.

    The input gap is the PSNR (dB) with the right input pictures minus that with another object's, taken
    from the same cameras and with the same noise; the other object is the next one in the set. It is left
    out where the objects do not share cameras, or there is no other object. With `shuffled_inputs` the
    predictor only ever meets other objects' pictures: the next one's, and for the gap the next but one's.
    `picture_metrics` adds metrics (rendered, true pictures) -> one number each; with the true `depths` of
    all views (0 for no surface) Gaussians are judged by depth too. What `resume` knows is not
    computed again, and what is computed is added to it, after `on_object` was called. Of a `share` only the
    first process returns scores, when the others have added theirs.

    Raises `InputError` for a set without objects or without the protocol's views.
    """
    view_count = viewsets.cameras.batch_shape[1]
    protocol.check(view_count, "the test set")
    problems = find_problems(viewsets)
    sound = [i for i, object_name in enumerate(viewsets.names) if object_name not in problems]
    shifts = [1, 2] if shuffled_inputs else [0, 1]
    if len(sound) <= shifts[1] or not _share_cameras(viewsets, sound, protocol):
        if shuffled_inputs:
            raise InputError("inputs can be shuffled only among three or more objects with the same cameras")
        shifts = [0]
    pictures_of = {i: [sound[(place + s) % len(sound)] for s in shifts] for place, i in enumerate(sound)}
    prints = {i: fingerprint(viewsets, [i, *pictures_of[i]]) for i in sound} if resume else {}
    known = resume.load() if resume else {}
    rows = {i: known[prints[i]] for i in sound if prints.get(i) in known}
    missing = [i for i in sound[share.rank :: share.world] if i not in rows]
    with tqdm(total=len(sound), initial=len(rows), desc=name, unit="object", disable=not progress) as bar:
        for start in range(0, len(missing), batch_size):
            ids = missing[start : start + batch_size]
            predictions = [
                predictor(make_task(viewsets, protocol, ids, [pictures_of[i][k] for i in ids], seed))
                for k in range(len(shifts))
            ]
            for row, i in enumerate(ids):
                truth = views_of(viewsets, [i], protocol.drawn_views(view_count))
                own = [_one(prediction, row) for prediction in predictions]
                rows[i] = _score_object(own, truth, protocol, view_count, picture_metrics or {})
                if depths is not None:
                    drawn = torch.from_numpy(depths[i][list(protocol.drawn_views(view_count))])
                    rows[i] = _with_depth_error(rows[i], own[0], truth, drawn)
                if on_object and rows[i].problem is None:
                    on_object(viewsets.names[i], own[0], truth)
                if resume:
                    resume.append(prints[i], rows[i])
            bar.update(len(ids))
        if share.rank:
            return Scores(name, protocol, (), (), {}, {}, {})
        while resume and len(rows) < len(sound):
            share.check()
            time.sleep(_POLL_SECONDS)
            known = resume.load()
            rows |= {i: known[prints[i]] for i in sound if prints[i] in known}
            bar.update(len(rows) - bar.n)
    return _gather(name, viewsets, protocol, rows, problems)


def fingerprint(viewsets: Viewsets, ids: Sequence[int]) -> str:
    """Tells the pictures and cameras of some objects, the first one's name included, from any others."""
    digest = hashlib.blake2b(viewsets.names[ids[0]].encode(), digest_size=12)
    for i in ids:
        digest.update(viewsets.images[i].tobytes())
        digest.update(viewsets.cameras[i].viewmats.numpy().tobytes())
        digest.update(viewsets.cameras[i].Ks.numpy().tobytes())
    return digest.hexdigest()


def _share_cameras(viewsets: Viewsets, ids: list[int], protocol: Protocol) -> bool:
    cameras = viewsets.cameras[torch.tensor(ids)][:, list(protocol.input_views)]
    spread = torch.cat([(x - x[:1]).abs().flatten() for x in (cameras.viewmats, cameras.Ks)])
    return bool(spread.max() < _SAME_CAMERA)


def _one(prediction: Prediction, row: int) -> Prediction:
    one = slice(row, row + 1)
    gaussians = None if prediction.gaussians is None else prediction.gaussians[one]
    return Prediction(prediction.rgb[one], prediction.alpha[one], gaussians)


def _score_object(
    predictions: Sequence[Prediction],
    truth: Views,
    protocol: Protocol,
    view_count: int,
    picture_metrics: dict[str, PictureMetric],
) -> ObjectScores:
    """Scores of the first prediction; the second, from another object's pictures, is for the input gap.

    One object by itself, so that the batch that it was predicted in rounds nothing differently.
    """
    first = predictions[0]
    if first.rgb.shape != truth.images.shape:
        raise ValueError(
            f"the pictures must have shape {tuple(truth.images.shape)}, got {tuple(first.rgb.shape)}"
        )
    if problem := not_finite(predictions, 0, protocol.drawn_views(view_count)):
        return ObjectScores(problem=problem)
    rgb = first.rgb.clamp(0, 1)
    values = {"psnr": metrics.psnr(rgb, truth.images), "ssim": metrics.ssim(rgb, truth.images)}
    values["gradient_energy"] = metrics.gradient_energy_ratio(rgb, truth.images)
    for key, metric in picture_metrics.items():
        values[key] = metric(rgb, truth.images)
    if truth.alphas is not None:
        values["object_psnr"] = metrics.object_psnr(rgb, truth.images, truth.alphas)
        values["alpha_iou"] = metrics.alpha_iou(first.alpha, truth.alphas)
    if len(predictions) > 1:
        other = metrics.psnr(predictions[1].rgb.clamp(0, 1), truth.images)
        # Two perfect pictures have no gap either, where infinities would leave NaN.
        values["input_gap"] = torch.where(values["psnr"] == other, 0.0, values["psnr"] - other)
    per_view = {key: value[0].tolist() for key, value in values.items()}
    if first.gaussians is None:
        return ObjectScores(per_view)
    gaussians = first.gaussians[0]
    whole = {
        "dead_share": metrics.dead_share(gaussians).item(),
        "used_share": utilization.used_share(gaussians, truth.cameras[0]),
    }
    if gaussians.expansion > 1:
        whole["query_spread"] = utilization.query_spread(gaussians)
    return ObjectScores(per_view, whole, utilization.opacity_counts(gaussians))


def _with_depth_error(
    row: ObjectScores, prediction: Prediction, truth: Views, depths: Float[Tensor, "v h w"]
) -> ObjectScores:
    if row.problem or prediction.gaussians is None:
        return row
    drawn = render(prediction.gaussians, truth.cameras, depth=True)
    assert drawn.depth is not None
    error = metrics.depth_error(drawn.depth[0], drawn.alpha[0], depths)
    return replace(row, per_view={**row.per_view, "depth_error": error.tolist()})


def _gather(
    name: str,
    viewsets: Viewsets,
    protocol: Protocol,
    rows: dict[int, ObjectScores],
    problems: dict[str, str],
) -> Scores:
    """Tables over all objects from the rows of the scored ones."""
    problems = problems | {viewsets.names[i]: row.problem for i, row in rows.items() if row.problem}
    rows = {i: row for i, row in rows.items() if not row.problem}
    if not rows:
        found = next((f"{k}: {v}" for k, v in problems.items()), "it has none")
        raise InputError(f"{name}: no object of the test set could be scored ({found}); check the test set")
    cameras = viewsets.cameras
    targets = protocol.target_views(cameras.batch_shape[1])
    some = next(iter(rows.values()))
    every = {key: _table(viewsets, rows, lambda row, key=key: row.per_view[key]) for key in some.per_view}
    per_view = {key: table[:, : len(targets)] for key, table in every.items()}
    # Without the views where a metric is not defined.
    per_object = {key: table.nanmean(dim=1) for key, table in per_view.items()}
    per_object |= {key: _table(viewsets, rows, lambda row, key=key: row.whole[key]) for key in some.whole}
    at_inputs = {key: table[:, len(targets) :] for key, table in every.items() if key != "input_gap"}
    angles = metrics.view_angles(cameras[:, list(targets)], cameras[:, list(protocol.input_views)])
    opacities = _table(viewsets, rows, lambda row: row.opacities) if some.opacities else None
    names = tuple(viewsets.names)
    return Scores(
        name, protocol, names, targets, per_view, per_object, problems, at_inputs, angles, opacities
    )


def _table(
    viewsets: Viewsets, rows: dict[int, ObjectScores], value: Callable[[ObjectScores], list | float]
) -> Tensor:
    """One line for each object; NaN where it was not scored."""
    example = torch.tensor(value(next(iter(rows.values()))))
    table = torch.full((len(viewsets.names), *example.shape), torch.nan)
    for i, row in rows.items():
        table[i] = torch.tensor(value(row))
    return table
