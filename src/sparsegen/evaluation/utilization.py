"""What an object's Gaussians are used for (paper, figures 7 and 8)."""

from __future__ import annotations

import colorsys
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from sparsegen.cameras import Cameras
from sparsegen.data.protocols import Protocol
from sparsegen.editing import query_centers
from sparsegen.evaluation import removal
from sparsegen.evaluation.document import Picture
from sparsegen.formats.images import encode_png
from sparsegen.gaussians import Gaussians
from sparsegen.metrics import view_angles
from sparsegen.splatting import render

OPACITY_BINS = 20
# Cameras that a removal is looked at from: with more, the share only grows, and slowly.
CAMERAS = 32
_SHUFFLES = 4
_SCALE = 3  # of the pictures that show queries


def opacity_counts(gaussians: Gaussians) -> list[int]:
    """How many Gaussians have an opacity in each of `OPACITY_BINS` equal parts of [0, 1]."""
    return torch.histc(gaussians.opacities.float(), OPACITY_BINS, 0, 1).int().tolist()


def used_share(gaussians: Gaussians, cameras: Cameras) -> float:
    """Share of one object's Gaussians whose removal shows in a picture (see `removal`).

    Of more than `CAMERAS` cameras (V,) so many are taken, evenly spread.
    """
    count = min(len(cameras), CAMERAS)
    chosen = (torch.arange(count) * len(cameras)) // count
    return removal.used(gaussians, cameras[chosen]).float().mean().item()


def query_spread(gaussians: Gaussians) -> float:
    """How far the Gaussians of a query lie apart, over the same for queries of Gaussians drawn by lot.

    Root of the mean squared distance to the query's mean centre. 1 says that a query means nothing in
    space; NaN where each has one Gaussian.
    """
    if gaussians.expansion == 1:
        return torch.nan
    generator = torch.Generator().manual_seed(0)
    orders = [torch.randperm(gaussians.count, generator=generator) for _ in range(_SHUFFLES)]
    means = gaussians.means.to("cpu", torch.float64)
    shuffled = torch.stack([_spread(means[order], gaussians.expansion) for order in orders]).mean()
    return (_spread(means, gaussians.expansion) / shuffled).item()


def picture_by_query(gaussians: Gaussians, cameras: Cameras) -> Float[Tensor, "v 3 h w"]:
    """One object with a color of its own for each query, from cameras (V,)."""
    count = gaussians.count // gaussians.expansion
    # Steps of the golden ratio keep the hues of neighbours in the list far apart.
    hues = [(n * 0.61803398875) % 1.0 for n in range(count)]
    palette = torch.tensor([colorsys.hsv_to_rgb(hue, 0.75, 0.9) for hue in hues])
    colored = replace(gaussians, colors=palette[gaussians.query_ids.cpu()].to(gaussians.means))
    return render(colored, cameras.to(gaussians.means.device), depth=False).rgb.clamp(0, 1).cpu()


def pictures(gaussians: Gaussians, cameras: Cameras, protocol: Protocol) -> list[Picture]:
    """One object as a page shows it: as it is, colored by query, and with the queries' mean centres, from
    the first input view and from the judged view that is farthest from it. `cameras` are all of its views."""
    inputs = cameras[list(protocol.input_views)]
    targets = protocol.target_views(len(cameras))
    angles = view_angles(cameras[list(targets)][None], inputs[None])[0]
    views = cameras[[protocol.input_views[0], targets[int(angles.argmax())]]]
    plain = render(gaussians, views, depth=False).rgb.clamp(0, 1)
    colored = picture_by_query(gaussians, views)
    rows = []
    for v in range(len(views)):
        enlarged = [_enlarged(picture) for picture in (plain[v], colored[v])]
        rows.append(torch.cat([*enlarged, mark_centers(plain[v], gaussians, views[v])], dim=2))
    caption = "One object as drawn; with a color for each query; and each query's mean centre"
    return [
        Picture(encode_png(rows[0]), f"{caption}, input view."),
        Picture(encode_png(rows[1]), f"{caption}, far view."),
    ]


def mark_centers(
    picture: Float[Tensor, "3 h w"], gaussians: Gaussians, camera: Cameras
) -> Float[Tensor, "3 big wide"]:
    """The picture enlarged, with a dot where each query's mean centre projects; `camera` has no batch."""
    canvas = _enlarged(0.35 * picture.cpu() + 0.65)
    pixels, depth = camera.to("cpu").project(query_centers(gaussians).cpu())
    ink = torch.tensor([0.72, 0.15, 0.2])[:, None, None]
    for (x, y), z in zip((pixels * _SCALE).round().int().tolist(), depth.tolist(), strict=True):
        if z > 0 and 0 < x < canvas.shape[2] - 1 and 0 < y < canvas.shape[1] - 1:
            canvas[:, y - 1 : y + 2, x - 1 : x + 2] = ink
    return canvas


def _enlarged(picture: Float[Tensor, "3 h w"]) -> Float[Tensor, "3 big wide"]:
    return picture.repeat_interleave(_SCALE, dim=1).repeat_interleave(_SCALE, dim=2)


def _spread(means: Float[Tensor, "n 3"], expansion: int) -> Float[Tensor, ""]:
    groups = means.unflatten(0, (-1, expansion))
    return (groups - groups.mean(dim=1, keepdim=True)).square().sum(dim=-1).mean().sqrt()
