"""Big vehicles with flat faces, by style: lorries, fire engines, buses."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from sparsegen.data.procedural.buses import make_city_bus, make_coach, make_minibus
from sparsegen.data.procedural.hulls import (
    Extents,
)
from sparsegen.data.procedural.lorries import make_lorry
from sparsegen.data.procedural.meshing import (
    Parts,
)
from sparsegen.data.procedural.paint import Finish, draw_finish, draw_paint, linear


def make_heavy(style: str, rng: np.random.Generator) -> tuple[Parts, dict[str, Finish], Extents]:
    """The parts, the finish and the bounds of a big vehicle of one style. `paint` and `cabin` are what a
    livery covers."""
    parts: Parts = defaultdict(list)
    finish, _ = draw_finish("bus", rng)
    colours = {
        "paint": draw_paint(rng, 0.6) if rng.random() < 0.6 else linear(np.full(3, rng.uniform(0.75, 0.95))),
        "cabin": draw_paint(rng, 0.4),
    }
    if style == "fire_engine":
        red = linear((rng.uniform(0.6, 0.85), rng.uniform(0.05, 0.2), rng.uniform(0.05, 0.15)))
        colours["paint"] = red if rng.random() < 0.85 else linear((0.82, 0.88, 0.15))
    if style == "garbage" and rng.random() < 0.5:
        colours["cabin"] = linear((rng.uniform(0.8, 0.95), rng.uniform(0.35, 0.6), 0.1))
    if style in ("fire_engine", "minibus") or rng.random() < 0.5:
        colours["cabin"] = colours["paint"]
    for name, colour in colours.items():
        finish[name] = finish[name]._replace(colour=colour)
    finish["beacon"] = Finish(
        linear((0.1, 0.2, 0.8)) if rng.random() < 0.6 else linear((0.9, 0.5, 0.08)), 0.0, 0.3
    )
    finish["glass"] = finish["glass"]._replace(colour=finish["glass"].colour * rng.uniform(0.4, 1.2))
    build = {"city_bus": make_city_bus, "coach": make_coach, "minibus": make_minibus}.get(style)
    extents = build(parts, rng) if build else make_lorry(style, parts, rng)
    return parts, finish, extents
