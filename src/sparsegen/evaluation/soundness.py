"""Which objects cannot be judged, and why: they are named, and no mean includes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch

from sparsegen.cameras import Cameras
from sparsegen.data.packed import Viewsets
from sparsegen.errors import InputError
from sparsegen.evaluation.predictors import Prediction

# Every object fits into the ball of this radius about the world's origin (its bounding box's diagonal is 1).
_OBJECT_RADIUS = 0.5
_TENSORS = ("means", "quats", "scales", "opacities", "colors")


def find_problems(viewsets: Viewsets) -> dict[str, str]:
    """What is wrong with a test set's objects, by name. Raises `InputError` where two share a name."""
    twice = [name for name, count in Counter(viewsets.names).items() if count > 1]
    if twice:
        raise InputError(f"the test set has two objects named {twice[0]!r}; every name must be unique")
    return {**find_blank_pictures(viewsets), **find_stray_cameras(viewsets)}


def find_blank_pictures(viewsets: Viewsets) -> dict[str, str]:
    """Objects with pictures that show nothing, such as the all-white car of ShapeNet-SRN's test set."""
    problems = {}
    for name, pictures in zip(viewsets.names, viewsets.images, strict=True):  # (V, H, W, 4) each
        flat = (np.ptp(pictures, axis=(1, 2)) == 0).all(axis=-1)  # one color, one alpha
        empty = pictures[..., 3].max(axis=(1, 2)) == 0
        blank = np.flatnonzero(flat | empty)
        if len(blank):
            problems[name] = f"nothing to see in the true picture of {list_views(blank.tolist())}"
    return problems


def find_stray_cameras(viewsets: Viewsets) -> dict[str, str]:
    """Objects with cameras that hold NaN or infinity, or that look away from the object."""
    cameras = viewsets.cameras
    finite = cameras.viewmats.isfinite().flatten(2).all(-1) & cameras.Ks.isfinite().flatten(2).all(-1)
    away = ~_see_the_object(cameras) & finite
    problems = {}
    for i, name in enumerate(viewsets.names):
        if not finite[i].all():
            problems[name] = f"NaN or infinity in the camera of {list_views(_where(~finite[i]))}"
        elif away[i].any():
            problems[name] = f"the camera of {list_views(_where(away[i]))} looks away from the object"
    return problems


def not_finite(predictions: Sequence[Prediction], row: int, views: Sequence[int]) -> str | None:
    """What is wrong with a batch's object, or with its pictures from `views`; or None."""
    # Splatting may pass over a Gaussian of NaN, and then the picture does not show it.
    for gaussians in (prediction.gaussians for prediction in predictions):
        if gaussians is not None and not all(
            getattr(gaussians, name)[row].isfinite().all() for name in _TENSORS
        ):
            return "NaN or infinity in the Gaussians"
    broken = torch.zeros(len(views), dtype=torch.bool)
    for prediction in predictions:
        rgb, alpha = prediction.rgb[row], prediction.alpha[row]
        broken |= ~(rgb.isfinite().flatten(1).all(dim=1) & alpha.isfinite().flatten(1).all(dim=1))
    found = sorted(views[v] for v in _where(broken))
    return f"NaN or infinity in the render of {list_views(found)}" if found else None


def list_views(views: Sequence[int]) -> str:
    if len(views) == 1:
        return f"view {views[0]}"
    return f"{len(views)} views ({', '.join(map(str, views[:3]))}{', …' if len(views) > 3 else ''})"


def _see_the_object(cameras: Cameras) -> torch.Tensor:
    """Whether any of the ball about the origin can be in the picture, (n, v)."""
    depth = cameras.viewmats[..., 2, 3]
    slope = cameras.viewmats[..., :2, 3] / depth.clamp(min=1e-6)[..., None]
    focal = torch.stack([cameras.Ks[..., 0, 0], cameras.Ks[..., 1, 1]], dim=-1)
    pixel = slope * focal + cameras.Ks[..., :2, 2]
    reach = _OBJECT_RADIUS * focal / depth.clamp(min=1e-6)[..., None]
    size = torch.tensor([cameras.width, cameras.height])
    inside = ((pixel > -reach) & (pixel < size + reach)).all(dim=-1)
    return inside & (depth > 0)


def _where(mask: torch.Tensor) -> list[int]:
    return mask.nonzero()[:, 0].tolist()
