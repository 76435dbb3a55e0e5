"""Which Gaussians change a picture when they are taken away, found by taking each of them away.

For every pixel the Gaussians that reach it are listed nearest first. To take one away is to composite the
list again from its place on, with the transmittance that stood in front of it; what lies before it stays.
That is exact under the splatting's contract, its cut at low transmittance included, and costs a thousandth
of drawing every picture once for every Gaussian.
"""

from __future__ import annotations

import numba
import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from sparsegen.cameras import Cameras
from sparsegen.gaussians import Gaussians
from sparsegen.splatting.reference import FAR, MAX_ALPHA, MIN_ALPHA, MIN_TRANSMITTANCE, NEAR, project

# A change that shows in a picture of 8 bits.
THRESHOLD = 1 / 255


def used(gaussians: Gaussians, cameras: Cameras, threshold: float = THRESHOLD) -> Bool[Tensor, "n"]:
    """Gaussians of one object whose removal moves a channel of any pixel, over white, by over `threshold`.

    `cameras` has batch shape (V,). Computed in float64.
    """
    gaussians = gaussians.detach().to("cpu", torch.float64)
    cameras = cameras.to("cpu", torch.float64)
    found = np.zeros(gaussians.count, dtype=np.bool_)
    for camera in (cameras[v] for v in range(len(cameras))):
        means, conics, depths = project(gaussians, camera)
        visible = (depths >= NEAR) & (depths <= FAR) & (gaussians.opacities >= MIN_ALPHA)
        order = torch.argsort(depths, stable=True)
        order = order[visible[order]]
        columns = (means, conics, gaussians.opacities, gaussians.colors)
        centers, shapes, opacities, colors = (column[order].numpy() for column in columns)
        starts, members, alphas = _lists(centers, shapes, opacities, camera.width, camera.height)
        _take_away(starts, members, alphas, colors, order.numpy(), threshold, found)
    return torch.from_numpy(found)


@numba.njit(cache=True, nogil=True)
def _lists(means, conics, opacities, width, height):
    """For each pixel the Gaussians that reach it, nearest first, and their alphas there."""
    count = len(opacities)
    boxes = np.empty((count, 4), np.int64)
    for i in range(count):
        xx, xy, yy = conics[i, 0], conics[i, 1], conics[i, 2]
        # Where alpha is at least 1/255, sigma is at most `reach`.
        reach = max(np.log(opacities[i] / MIN_ALPHA), 0.0)
        scale = 2 * reach / (xx * yy - xy * xy)
        across, down = np.sqrt(scale * yy) + 1, np.sqrt(scale * xx) + 1
        boxes[i, 0] = min(max(np.floor(means[i, 0] - across), 0), width)
        boxes[i, 1] = min(max(np.ceil(means[i, 0] + across), 0), width)
        boxes[i, 2] = min(max(np.floor(means[i, 1] - down), 0), height)
        boxes[i, 3] = min(max(np.ceil(means[i, 1] + down), 0), height)
    starts = np.zeros(width * height + 1, np.int64)
    for i in range(count):
        for y in range(boxes[i, 2], boxes[i, 3]):
            for x in range(boxes[i, 0], boxes[i, 1]):
                if _alpha(means, conics, opacities, i, x, y) > 0:
                    starts[y * width + x + 1] += 1
    starts = np.cumsum(starts)
    ends = starts[:-1].copy()
    members = np.empty(starts[-1], np.int64)
    alphas = np.empty(starts[-1])
    for i in range(count):
        for y in range(boxes[i, 2], boxes[i, 3]):
            for x in range(boxes[i, 0], boxes[i, 1]):
                alpha = _alpha(means, conics, opacities, i, x, y)
                if alpha > 0:
                    pixel = y * width + x
                    members[ends[pixel]], alphas[ends[pixel]] = i, alpha
                    ends[pixel] += 1
    return starts, members, alphas


@numba.njit(cache=True, nogil=True)
def _alpha(means, conics, opacities, i, x, y):
    dx, dy = means[i, 0] - (x + 0.5), means[i, 1] - (y + 0.5)
    sigma = 0.5 * (conics[i, 0] * dx * dx + conics[i, 2] * dy * dy) + conics[i, 1] * dx * dy
    alpha = min(opacities[i] * np.exp(-sigma), MAX_ALPHA)
    return alpha if alpha >= MIN_ALPHA and sigma >= 0 else 0.0


@numba.njit(cache=True, nogil=True)
def _take_away(starts, members, alphas, colors, numbers, threshold, found):
    """Mark in `found`, at the Gaussians' `numbers`, those whose removal shows in a pixel."""
    for pixel in range(len(starts) - 1):
        end = starts[pixel + 1]
        transmittance = 1.0
        for place in range(starts[pixel], end):
            # All that a removal can move is what this one and those behind it add: at most `transmittance`.
            if transmittance <= threshold:
                break
            number = numbers[members[place]]
            if not found[number]:
                with_it = _composite(place, end, transmittance, members, alphas, colors)
                without = _composite(place + 1, end, transmittance, members, alphas, colors)
                for channel in range(3):
                    if abs(with_it[channel] - without[channel]) > threshold:
                        found[number] = True
            after = transmittance * (1 - alphas[place])
            if after <= MIN_TRANSMITTANCE:
                break  # this one is left out, and nothing behind it is drawn, whether it is there or not
            transmittance = after


@numba.njit(cache=True, nogil=True)
def _composite(place, end, transmittance, members, alphas, colors):
    """What the Gaussians from `place` on, and the white behind them, add to a pixel."""
    red, green, blue, background = 0.0, 0.0, 0.0, transmittance
    for k in range(place, end):
        after = transmittance * (1 - alphas[k])
        if after <= MIN_TRANSMITTANCE:
            break
        weight = transmittance * alphas[k]
        red += weight * colors[members[k], 0]
        green += weight * colors[members[k], 1]
        blue += weight * colors[members[k], 2]
        background -= weight
        transmittance = after
    return red + background, green + background, blue + background
