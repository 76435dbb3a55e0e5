"""Predictors that any model must beat. Both know the gallery, a set of training objects, and no 3D."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparsegen.cameras import Cameras
from sparsegen.data.packed import Viewsets
from sparsegen.data.protocols import Protocol
from sparsegen.errors import InputError
from sparsegen.evaluation.predictors import Prediction
from sparsegen.evaluation.tasks import Task, views_of
from sparsegen.views import Views

# Gallery objects held in memory as float pictures at a time.
_CHUNK = 16


class MeanPicture:
    """The mean of the gallery's pictures from each drawn camera, whatever the input."""

    def __init__(self, gallery: Viewsets, protocol: Protocol) -> None:
        self.cameras = _target_cameras(gallery, protocol)
        rgb, alpha = torch.zeros(()), torch.zeros(())
        for views in _chunks(gallery, protocol.drawn_views(gallery.cameras.batch_shape[1])):
            rgb = rgb + views.images.sum(dim=0)
            alpha = alpha + _alphas(views).sum(dim=0)
        self.rgb, self.alpha = rgb / len(gallery.names), alpha / len(gallery.names)

    def __call__(self, task: Task) -> Prediction:
        _check_cameras(self.cameras, task.targets)
        b = task.inputs.batch_size
        return Prediction(self.rgb.expand(b, -1, -1, -1, -1), self.alpha.expand(b, -1, -1, -1))


class NearestObject:
    """The pictures of the gallery object whose input pictures are nearest in squared distance."""

    def __init__(self, gallery: Viewsets, protocol: Protocol) -> None:
        self.cameras = _target_cameras(gallery, protocol)
        self.gallery = gallery
        self.drawn_views = protocol.drawn_views(gallery.cameras.batch_shape[1])
        self.keys = torch.cat([views.images.flatten(1) for views in _chunks(gallery, protocol.input_views)])

    def nearest(self, inputs: Views) -> Int[Tensor, "b"]:
        """Number of the nearest gallery object for each of B objects."""
        # Without the matrix product, whose rounding confuses near neighbours.
        mode = "donot_use_mm_for_euclid_dist"
        return torch.cdist(inputs.images.flatten(1), self.keys, compute_mode=mode).argmin(dim=1)

    def __call__(self, task: Task) -> Prediction:
        _check_cameras(self.cameras, task.targets)
        ids = self.nearest(task.inputs).tolist()
        found = views_of(self.gallery, ids, self.drawn_views)
        return Prediction(found.images, _alphas(found))


def _chunks(gallery: Viewsets, views: tuple[int, ...]) -> Iterator[Views]:
    for start in range(0, len(gallery.names), _CHUNK):
        ids = range(start, min(start + _CHUNK, len(gallery.names)))
        yield views_of(gallery, ids, views)


def _alphas(views: Views) -> Float[Tensor, "b v h w"]:
    if views.alphas is None:
        raise InputError("the gallery has no alphas; render it with `sparsegen data`")
    return views.alphas


def _target_cameras(gallery: Viewsets, protocol: Protocol) -> Cameras:
    protocol.check(gallery.cameras.batch_shape[1], "the gallery")
    return gallery.cameras[0][list(protocol.drawn_views(gallery.cameras.batch_shape[1]))]


def _check_cameras(gallery: Cameras, targets: Cameras) -> None:
    same = (
        gallery.batch_shape == targets.batch_shape[1:]
        and (gallery.width, gallery.height) == (targets.width, targets.height)
        and torch.allclose(gallery.viewmats, targets.viewmats, atol=1e-3)
        and torch.allclose(gallery.Ks, targets.Ks, atol=1e-2)  # pixels
    )
    if not same:
        raise InputError(
            "the gallery must have the test set's own cameras and picture size; "
            "render training objects with the test cameras"
        )
