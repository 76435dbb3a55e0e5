"""A page that shows Gaussians: one HTML file, without any connection to anywhere.

The page draws with Spark and three.js, which `make spark` bundles in `spark.min.js`; `splat.js` sets them
up, and `orbit.js` is the camera. A scene is 15 float32 for each Gaussian, in world units:

    mean x y z, opacity | scale x y z, query | quaternion w x y z | red green blue
"""

from __future__ import annotations

import base64
import gzip
import html
import json
import re
from functools import cache
from pathlib import Path

import torch

from sparsegen.cameras import RADIUS
from sparsegen.gaussians import Gaussians
from sparsegen.turntable import framing

FOLDER = Path(__file__).parent


def scene_bytes(gaussians: Gaussians) -> bytes:
    """One object as the viewer takes it: 60 bytes for each Gaussian, little-endian float32."""
    if gaussians.batch_shape:
        raise ValueError(f"a scene holds one object, got batch shape {tuple(gaussians.batch_shape)}")
    g = gaussians.detach().to("cpu", torch.float32)
    rows = [g.means, g.opacities[:, None], g.scales, g.query_ids[:, None].float(), g.quats, g.colors]
    return torch.cat(rows, dim=1).contiguous().numpy().astype("<f4").tobytes()


def scene_frame(gaussians: Gaussians) -> dict[str, list[float] | float]:
    """The point that the camera turns around, and how far away it starts, in world units."""
    center, size = framing(gaussians)
    return {"target": center.tolist(), "radius": RADIUS * size}


def viewer_html(gaussians: Gaussians, title: str) -> str:
    """The whole page for one object, to be saved and opened anywhere."""
    # "<" is written as an escape, so that no text can end the script that holds it.
    facts = {"title": title, "count": gaussians.count, **scene_frame(gaussians)}
    parts = {
        "%TITLE%": html.escape(title),
        "%FACTS%": json.dumps(facts).replace("<", "\\u003c"),
        "%SCRIPTS%": "\n".join((FOLDER / name).read_text("utf-8") for name in ("orbit.js", "splat.js")),
        "%SPARK%": _packed_spark(),
        "%SCENE%": _packed(scene_bytes(gaussians)),
    }
    page = (FOLDER / "view.html").read_text("utf-8")
    return re.sub("|".join(parts), lambda mark: parts[mark[0]], page)  # at once: a title may hold a mark


@cache
def _packed_spark() -> str:
    return _packed((FOLDER / "spark.min.js").read_bytes())


def _packed(data: bytes) -> str:
    return base64.b64encode(gzip.compress(data, compresslevel=6, mtime=0)).decode()
