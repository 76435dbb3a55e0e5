"""Chamfer distance of meshes made from generated Gaussians to the true cars, on a packed test set.

python benchmarks/mesh_accuracy.py outputs/cars_test.pack --objects 10

Each car is generated from one picture. The truth is what can be seen of the procedural car from outside,
sampled evenly. Distances are in thousandths of the bounding-box diagonal: the mean from the mesh to the
truth, the mean from the truth to the mesh, and the mean of both. Beside them stand, measured the same way:
the surface of the next held-out car, and the ellipsoid and the box of the true car's own extent, which no
method is told.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict

import numpy as np
import torch
import trimesh
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial import KDTree
from tqdm import tqdm

from sparsegen.cameras import fibonacci_sphere
from sparsegen.data.cars import cars
from sparsegen.data.packed import load_packed
from sparsegen.data.render import normalize
from sparsegen.data.viewpoints import INPUT_VIEW
from sparsegen.generation import Pipeline
from sparsegen.meshing import extract_mesh
from sparsegen.tables import markdown_table

# Points that stand for a surface, and how many of them are asked for their distance: with few points to be
# near to, the same surface would be far from itself.
POINTS, ASKED = 150_000, 5_000
# Pictures that tell what of a car can be seen: points in a depth buffer, and how far behind the nearest
# point of its pixel a point still counts as seen.
VIEWS, SIZE, BEHIND = 30, 160, 0.015


def sampled(mesh: trimesh.Trimesh, seed: int = 0) -> Float[ndarray, "n 3"]:
    return np.asarray(trimesh.sample.sample_surface(mesh, POINTS, seed=seed)[0])


def visible_points(mesh: trimesh.Trimesh, seed: int = 0) -> Float[ndarray, "n 3"]:
    """Even samples of what can be seen of a surface from outside."""
    points = torch.from_numpy(sampled(mesh, seed)).float()
    cameras = fibonacci_sphere(VIEWS, size=SIZE)
    seen = torch.zeros(len(points), dtype=torch.bool)
    for i in range(len(cameras)):
        pixels, depth = cameras[i].project(points)
        column, row = pixels.long().clamp(0, SIZE - 1).unbind(-1)
        place = row * SIZE + column
        nearest = torch.full((SIZE * SIZE,), np.inf).scatter_reduce(0, place, depth, "amin")
        seen |= depth < nearest[place] + BEHIND
    return points[seen].numpy()


def distances(found: Float[ndarray, "n 3"], truth: Float[ndarray, "m 3"]) -> tuple[float, float, float]:
    """Found to truth, truth to found, and the mean of both, in thousandths."""
    pairs = ((found, truth), (truth, found))
    there, back = (1000 * float(KDTree(b).query(a[:ASKED])[0].mean()) for a, b in pairs)
    return there, back, (there + back) / 2


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data")
    parser.add_argument("--model")
    parser.add_argument("--objects", type=int, default=10)
    parser.add_argument("--view", type=int, default=INPUT_VIEW)
    parser.add_argument("--resolution", type=int, default=96)
    args = parser.parse_args()
    pipeline, viewsets = Pipeline.from_pretrained(args.model), load_packed(args.data)
    subjects = cars(args.objects + 1, 0, "test")
    meshes = [normalize(car.scene()).to_mesh() for car in subjects]
    truths = [visible_points(mesh) for mesh in tqdm(meshes, leave=False)]
    scores, seconds, closed = defaultdict(list), [], 0
    for index in tqdm(range(args.objects), leave=False):
        if viewsets.names[index] != subjects[index].name:
            raise SystemExit(f"{args.data}: object {index} is no {subjects[index].name}")
        truth = truths[index]
        gaussians = pipeline(viewsets.views(torch.tensor([index]), torch.tensor([[args.view]])))[0]
        start = time.process_time()
        mesh = extract_mesh(gaussians, args.resolution)
        seconds.append(time.process_time() - start)
        found = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
        closed += found.is_watertight
        center, extent = (truth.max(0) + truth.min(0)) / 2, np.ptp(truth, axis=0)
        ellipsoid = trimesh.creation.icosphere(4, radius=0.5).apply_scale(extent).apply_translation(center)
        box = trimesh.creation.box(extent).apply_translation(center)
        scores["mesh of the generated Gaussians"].append(distances(sampled(found), truth))
        again = visible_points(meshes[index], seed=1)
        scores["the true car, sampled again"].append(distances(again, truth))
        scores["the next held-out car"].append(distances(truths[index + 1], truth))
        scores["ellipsoid of the true extent"].append(distances(sampled(ellipsoid), truth))
        scores["box of the true extent"].append(distances(sampled(box), truth))
    rows = [[name, *(f"{x:.1f}" for x in np.mean(values, axis=0))] for name, values in scores.items()]
    print(markdown_table(["surface", "to the truth", "from the truth", "Chamfer"], rows))
    print(f"\n{closed} of {args.objects} meshes closed; {np.median(seconds):.1f} s of processor time each")


if __name__ == "__main__":
    main()
