"""Vehicles of other programs, turned to the front."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

from sparsegen.data.meshes import load_scene
from sparsegen.data.surfaces import surfaces

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
# A grey square in the middle, and a red one, 2 meters to the side along +X and 1 meter up along +Y.
AC3D = """AC3Db
MATERIAL "grey" rgb 0.5 0.5 0.5 amb 0 0 0 emis 0 0 0 spec 0 0 0 shi 0 trans 0
MATERIAL "red" rgb 1 0 0 amb 0 0 0 emis 0 0 0 spec 0 0 0 shi 0 trans 0
OBJECT world
kids 2
OBJECT poly
numvert 3
0 0 0
1 0 0
0 0 1
numsurf 1
SURF 0x20
mat 0
refs 3
0 0 0
1 0 0
2 0 0
kids 0
OBJECT poly
loc 2 1 0
numvert 3
0 0 0
0.1 0 0
0 0 0.1
numsurf 1
SURF 0x20
mat 1
refs 3
0 0 0
1 0 0
2 0 0
kids 0
"""


@pytest.fixture
def vehicle_models(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import vehicle_models  # pyright: ignore[reportMissingImports]

    yield vehicle_models
    for name in ("vehicle_models", "torcs_models"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(("turn", "place"), [(270, (2, 0)), (0, (0, 2)), (90, (-2, 0)), (180, (0, -2))])
def test_it_is_turned_about_what_is_up(vehicle_models, tmp_path, turn, place):
    (tmp_path / "a.ac").write_text(AC3D)
    vehicle_models.vehicle(tmp_path / "a.ac", turn).export(tmp_path / "a.glb")
    scene = load_scene(tmp_path / "a.glb")
    (part,) = surfaces(scene)  # none has a texture
    red = part.colors[:, 1] == 0
    np.testing.assert_allclose(part.vertices[red].mean(axis=0), [*place, 1], atol=0.06)


def test_what_training_may_not_see_is_nowhere_else(vehicle_models):
    with vehicle_models.TABLE.open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [(row["package"], Path(row["file"]).stem) for row in rows]
    assert len(set(names)) == len(names) > 100
    assert {row["use"] for row in rows} == {"train", "held"}
