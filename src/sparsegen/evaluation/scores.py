"""Scores of a predictor on held-out objects, view by view and object by object."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from sparsegen.data.packed import Viewsets
from sparsegen.errors import InputError
from sparsegen.evaluation import metrics
from sparsegen.evaluation.predictors import Prediction, Predictor
from sparsegen.evaluation.protocols import Protocol
from sparsegen.evaluation.tasks import make_task, views_of
from sparsegen.views import Views

# Cameras of two objects count as the same if no matrix entry differs by more.
_SAME_CAMERA = 1e-3

PictureMetric = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Scores:
    """What one predictor scored, with nothing averaged away.

    `per_view` holds pictures' metrics for the judged `target_views`; `per_object` the means of those over
    the views, and what belongs to an object as a whole. Both are NaN for the objects in `problems`, which
    says what is wrong with them; no mean includes them.
    """

    name: str
    protocol: Protocol
    objects: tuple[str, ...]
    target_views: tuple[int, ...]
    per_view: dict[str, Float[Tensor, "n v"]]
    per_object: dict[str, Float[Tensor, "n"]]
    problems: dict[str, str]

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
) -> Scores:
    """Score `predictor` on every object of `viewsets`.

    The input gap is the PSNR (dB) with the right input pictures minus that with another object's, taken
    from the same cameras and with the same noise; the other object is the next one in the set. It is left
    out where the objects do not share cameras, or there is no other object. With `shuffled_inputs` the
    predictor only ever meets other objects' pictures: the next one's, and for the gap the next but one's.
    `picture_metrics` adds metrics (rendered, true pictures) -> one number each.

    Raises `InputError` for a set without objects or without the protocol's views.
    """
    view_count = viewsets.cameras.batch_shape[1]
    protocol.check(view_count, "the test set")
    targets = protocol.target_views(view_count)
    problems = find_blank_pictures(viewsets)
    sound = [i for i, object_name in enumerate(viewsets.names) if object_name not in problems]
    shifts = [1, 2] if shuffled_inputs else [0, 1]
    if len(sound) <= shifts[1] or not _share_cameras(viewsets, sound, protocol):
        if shuffled_inputs:
            raise InputError("inputs can be shuffled only among three or more objects with the same cameras")
        shifts = [0]
    rows: dict[int, dict[str, Tensor]] = {}
    for start in tqdm(range(0, len(sound), batch_size), desc=name, unit="batch", disable=not progress):
        places = range(start, min(start + batch_size, len(sound)))
        ids = [sound[place] for place in places]
        pictures_of = [[sound[(place + shift) % len(sound)] for place in places] for shift in shifts]
        predictions = [predictor(make_task(viewsets, protocol, ids, p, seed)) for p in pictures_of]
        truth = views_of(viewsets, ids, targets)
        values = _batch_metrics(predictions, truth, picture_metrics or {})
        for row, i in enumerate(ids):
            if fault := _not_finite(predictions, row, targets):
                problems[viewsets.names[i]] = fault
            else:
                rows[i] = {key: value[row] for key, value in values.items()}
    return _gather(name, viewsets, protocol, rows, problems)


def find_blank_pictures(viewsets: Viewsets) -> dict[str, str]:
    """Objects with pictures that show nothing, such as the all-white car of ShapeNet-SRN's test set."""
    problems = {}
    for name, pictures in zip(viewsets.names, viewsets.images, strict=True):  # (V, H, W, 4) each
        flat = (np.ptp(pictures, axis=(1, 2)) == 0).all(axis=-1)  # one color, one alpha
        empty = pictures[..., 3].max(axis=(1, 2)) == 0
        blank = np.flatnonzero(flat | empty)
        if len(blank):
            problems[name] = f"nothing to see in the true picture of {_list_views(blank.tolist())}"
    return problems


def _share_cameras(viewsets: Viewsets, ids: list[int], protocol: Protocol) -> bool:
    cameras = viewsets.cameras[torch.tensor(ids)][:, list(protocol.input_views)]
    spread = torch.cat([(x - x[:1]).abs().flatten() for x in (cameras.viewmats, cameras.Ks)])
    return bool(spread.max() < _SAME_CAMERA)


def _batch_metrics(
    predictions: Sequence[Prediction], truth: Views, picture_metrics: dict[str, PictureMetric]
) -> dict[str, Float[Tensor, "b v"] | Float[Tensor, "b"]]:
    """Metrics of the first prediction; the second, from other objects' pictures, is for the input gap."""
    first = predictions[0]
    rgb = first.rgb.clamp(0, 1)
    if rgb.shape != truth.images.shape:
        raise ValueError(f"the pictures must have shape {tuple(truth.images.shape)}, got {tuple(rgb.shape)}")
    values = {"psnr": metrics.psnr(rgb, truth.images), "ssim": metrics.ssim(rgb, truth.images)}
    values["gradient_energy"] = metrics.gradient_energy_ratio(rgb, truth.images)
    for key, metric in picture_metrics.items():
        values[key] = metric(rgb, truth.images)
    if truth.alphas is not None:
        values["object_psnr"] = metrics.object_psnr(rgb, truth.images, truth.alphas)
        values["alpha_iou"] = metrics.alpha_iou(first.alpha, truth.alphas)
    if first.gaussians is not None:
        values["dead_share"] = metrics.dead_share(first.gaussians)
    if len(predictions) > 1:
        other = metrics.psnr(predictions[1].rgb.clamp(0, 1), truth.images)
        # Two perfect pictures have no gap either, where infinities would leave NaN.
        values["input_gap"] = torch.where(values["psnr"] == other, 0.0, values["psnr"] - other)
    return values


def _not_finite(predictions: Sequence[Prediction], row: int, targets: Sequence[int]) -> str | None:
    """What is wrong with the pictures of a batch's object, or None."""
    broken = torch.zeros(len(targets), dtype=torch.bool)
    for prediction in predictions:
        rgb, alpha = prediction.rgb[row], prediction.alpha[row]
        broken |= ~(rgb.isfinite().flatten(1).all(dim=1) & alpha.isfinite().flatten(1).all(dim=1))
    views = [targets[v] for v in broken.nonzero()[:, 0].tolist()]
    return f"NaN or infinity in the render of {_list_views(views)}" if views else None


def _list_views(views: Sequence[int]) -> str:
    if len(views) == 1:
        return f"view {views[0]}"
    return f"{len(views)} views ({', '.join(map(str, views[:3]))}{', …' if len(views) > 3 else ''})"


def _gather(
    name: str,
    viewsets: Viewsets,
    protocol: Protocol,
    rows: dict[int, dict[str, Tensor]],
    problems: dict[str, str],
) -> Scores:
    """Tables over all objects from the rows of the scored ones."""
    if not rows:
        found = next((f"{k}: {v}" for k, v in problems.items()), "it has none")
        raise InputError(f"{name}: no object of the test set could be scored ({found}); check the test set")
    per_view: dict[str, Tensor] = {}
    per_object: dict[str, Tensor] = {}
    for key, example in next(iter(rows.values())).items():
        table = torch.full((len(viewsets.names), *example.shape), torch.nan)
        for i, values in rows.items():
            table[i] = values[key]
        if example.ndim:
            per_view[key] = table
        per_object[key] = table.mean(dim=-1) if example.ndim else table
    targets = protocol.target_views(viewsets.cameras.batch_shape[1])
    return Scores(name, protocol, tuple(viewsets.names), targets, per_view, per_object, problems)
