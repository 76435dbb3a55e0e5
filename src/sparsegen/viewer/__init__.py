"""A page that shows Gaussians: one HTML file, without any connection to anywhere.

The page draws with `splat.js`, WebGL2 by the contract of `sparsegen.splatting.reference`. A scene is what
its texture holds, so that the browser has nothing to decode: 16 float32 for each Gaussian,

    mean x y z, opacity | covariance xx xy xz yy | yz zz, query, 0 | red green blue, 0
"""

from __future__ import annotations

import base64
import gzip
import html
import json
import re
from pathlib import Path

import torch

from sparsegen.cameras import RADIUS
from sparsegen.gaussians import Gaussians
from sparsegen.splatting.reference import rotation_matrices
from sparsegen.turntable import framing

FOLDER = Path(__file__).parent


def scene_bytes(gaussians: Gaussians) -> bytes:
    """One object as the viewer takes it: 64 bytes for each Gaussian, little-endian float32."""
    if gaussians.batch_shape:
        raise ValueError(f"a scene holds one object, got batch shape {tuple(gaussians.batch_shape)}")
    g = gaussians.detach().to("cpu", torch.float32)
    axes = rotation_matrices(g.quats) * g.scales[:, None, :]
    covariance = (axes @ axes.mT).flatten(1)[:, [0, 1, 2, 4, 5, 8]]
    query = g.query_ids[:, None].float()
    zero = torch.zeros_like(query)
    rows = [g.means, g.opacities[:, None], covariance, query, zero, g.colors, zero]
    return torch.cat(rows, dim=1).contiguous().numpy().astype("<f4").tobytes()


def scene_frame(gaussians: Gaussians) -> dict[str, list[float] | float]:
    """The point that the camera turns around, and how far away it starts, in world units."""
    center, size = framing(gaussians)
    return {"target": center.tolist(), "radius": RADIUS * size}


def viewer_html(gaussians: Gaussians, title: str) -> str:
    """The whole page for one object, to be saved and opened anywhere."""
    scene = base64.b64encode(gzip.compress(scene_bytes(gaussians), compresslevel=6, mtime=0)).decode()
    # "<" is written as an escape, so that no text can end the script that holds it.
    facts = {"title": title, "count": gaussians.count, **scene_frame(gaussians)}
    parts = {
        "%TITLE%": html.escape(title),
        "%FACTS%": json.dumps(facts).replace("<", "\\u003c"),
        "%SPLAT%": (FOLDER / "splat.js").read_text("utf-8"),
        "%SCENE%": scene,
    }
    page = (FOLDER / "view.html").read_text("utf-8")
    return re.sub("|".join(parts), lambda mark: parts[mark[0]], page)  # at once: a title may hold a mark
