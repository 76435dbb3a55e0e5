"""Small mesh toolkit for procedural objects: lofts, surfaces of revolution, tubes, draped patches."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numba import njit
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Points = Float[np.ndarray, "N 3"]
Grid = Float[np.ndarray, "R C 3"]


class Mesh(NamedTuple):
    """Triangles, counter-clockwise seen from outside."""

    vertices: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]


Parts = dict[str, list[Mesh]]  # by what they are made of


def join(meshes: list[Mesh]) -> Mesh:
    """One mesh out of many; vertices are not merged."""
    starts = np.cumsum([0] + [len(m.vertices) for m in meshes[:-1]])
    faces = [m.faces + start for m, start in zip(meshes, starts, strict=True)]
    return Mesh(np.concatenate([m.vertices for m in meshes]), np.concatenate(faces))


def flip(mesh: Mesh) -> Mesh:
    """The same surface seen from the other side."""
    return Mesh(mesh.vertices, mesh.faces[:, ::-1])


def mirror(mesh: Mesh) -> Mesh:
    """Reflection in the plane y = 0; the outside stays outside."""
    return flip(Mesh(mesh.vertices * [1.0, -1.0, 1.0], mesh.faces))


def both_sides(mesh: Mesh) -> Mesh:
    """The mesh together with its reflection in the plane y = 0."""
    return join([mesh, mirror(mesh)])


def grid_faces(rows: int, columns: int, closed: bool = False) -> Int[np.ndarray, "F 3"]:
    """Triangles of a rows x columns grid of vertices, two a cell, cell by cell in row-major order."""
    i, j = np.meshgrid(np.arange(rows - 1), np.arange(columns - (not closed)), indexing="ij")
    k = (j + 1) % columns
    a, b, c, d = (i * columns + j, i * columns + k, (i + 1) * columns + k, (i + 1) * columns + j)
    return np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)], 2).reshape(-1, 3)


def surface(grid: Grid, closed: bool = False) -> Mesh:
    """A grid of points as a mesh; `closed` joins the last column to the first."""
    rows, columns, _ = grid.shape
    return Mesh(grid.reshape(-1, 3), grid_faces(rows, columns, closed))


def revolve(profile: Float[np.ndarray, "P 2"], segments: int) -> Mesh:
    """Revolves (y, radius) points about the y axis; where the profile runs towards +y, it faces outwards."""
    angle = np.arange(segments) * (2 * np.pi / segments)
    y, radius = profile.T
    ring = np.stack([np.cos(angle), np.zeros(segments), np.sin(angle)], -1)  # (S, 3)
    grid = radius[:, None, None] * ring + np.stack([0 * y, y, 0 * y], -1)[:, None]
    return flip(surface(grid, closed=True))


def tube(path: Points, radius: float | np.ndarray, sides: int = 6) -> Mesh:
    """A closed tube along a path that runs mostly along x or y; `radius` may vary along it."""
    tangent = np.gradient(path, axis=0)
    across = np.cross(tangent, [0.0, 0.0, 1.0])
    across /= np.linalg.norm(across, axis=-1, keepdims=True)
    up = np.cross(across, tangent)
    up /= np.linalg.norm(up, axis=-1, keepdims=True)
    angle = np.arange(sides) * (2 * np.pi / sides)
    ring = across[:, None] * np.cos(angle)[:, None] + up[:, None] * np.sin(angle)[:, None]
    grid = path[:, None] + np.broadcast_to(radius, len(path))[:, None, None] * ring
    caps = [np.repeat(path[:1], sides, 0)[None], grid, np.repeat(path[-1:], sides, 0)[None]]
    return tidy(flip(surface(np.concatenate(caps), closed=True)))


def ellipsoid(centre: np.ndarray, radii: np.ndarray, power: float = 2.0, detail: int = 8) -> Mesh:
    """A superellipsoid; power 2 is an ellipsoid, larger powers approach a box with rounded edges."""
    polar = np.linspace(-np.pi / 2, np.pi / 2, detail)[:, None]
    around = np.linspace(0, 2 * np.pi, 2 * detail, endpoint=False)[None]

    def bent(value: np.ndarray) -> np.ndarray:
        return np.sign(value) * np.abs(value) ** (2 / power)

    waist = bent(np.cos(polar).clip(0))
    unit = [waist * bent(np.cos(around)), waist * bent(np.sin(around)), bent(np.sin(polar)) + 0 * around]
    return tidy(surface(np.asarray(centre) + np.stack(unit, -1) * np.asarray(radii), closed=True))


def tidy(mesh: Mesh) -> Mesh:
    """Merges coincident vertices and drops the triangles that have no area and the vertices of none."""
    _, first, where = np.unique(np.round(mesh.vertices, 6), axis=0, return_index=True, return_inverse=True)
    vertices, faces = mesh.vertices[first], where.reshape(-1)[mesh.faces]
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    faces = faces[np.linalg.norm(np.cross(b - a, c - a), axis=-1) > 1e-9]
    used, faces = np.unique(faces, return_inverse=True)
    return Mesh(vertices[used], faces.reshape(-1, 3))


def face_normals(mesh: Mesh) -> Float[np.ndarray, "F 3"]:
    """Unit normals of the triangles."""
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    return normal / np.linalg.norm(normal, axis=-1, keepdims=True).clip(1e-12)


def split_creases(mesh: Mesh, degrees: float = 38.0) -> Mesh:
    """Duplicates vertices along edges sharper than `degrees`, so that shading is smooth only elsewhere.

    Two corners at a vertex stay one when a chain of triangles around it joins them over smooth edges.
    """
    count = len(mesh.faces)
    corner = np.arange(3 * count).reshape(count, 3)
    start, end = mesh.faces, np.roll(mesh.faces, -1, 1)
    key = (np.minimum(start, end) * len(mesh.vertices) + np.maximum(start, end)).reshape(-1)
    order = np.argsort(key, kind="stable")
    pair = np.flatnonzero(key[order][1:] == key[order][:-1])
    one, two = order[pair], order[pair + 1]  # half edges 3 * face + k
    normal = face_normals(mesh)
    smooth = (normal[one // 3] * normal[two // 3]).sum(-1) > np.cos(np.deg2rad(degrees))
    one, two = one[smooth], two[smooth]
    following = np.roll(corner, -1, 1).reshape(-1)
    same = start.reshape(-1)[one] == start.reshape(-1)[two]  # false for consistently wound neighbours
    left = np.concatenate([one, following[one]])
    right = np.concatenate([np.where(same, two, following[two]), np.where(same, following[two], two)])
    links = coo_array((np.ones(len(left), bool), (left, right)), shape=(3 * count, 3 * count))
    _, label = connected_components(links, directed=False)
    _, first, faces = np.unique(label, return_index=True, return_inverse=True)
    return Mesh(mesh.vertices[start.reshape(-1)[first]], faces.reshape(count, 3))


@njit
def _first_hits(origins, directions, corners):  # pragma: no cover - compiled
    """Nearest hit (Moeller and Trumbore 1997) of each ray: triangle index or -1, and distance."""
    hit = np.full(len(origins), -1, np.int64)
    distance = np.full(len(origins), np.inf)
    for t in range(len(corners)):
        a = corners[t, 0]
        e = corners[t, 1] - a
        f = corners[t, 2] - a
        for r in range(len(origins)):
            d0, d1, d2 = directions[r, 0], directions[r, 1], directions[r, 2]
            p0 = d1 * f[2] - d2 * f[1]
            p1 = d2 * f[0] - d0 * f[2]
            p2 = d0 * f[1] - d1 * f[0]
            det = e[0] * p0 + e[1] * p1 + e[2] * p2
            if det < 1e-12:  # seen from behind, or edge-on
                continue
            s0, s1, s2 = origins[r, 0] - a[0], origins[r, 1] - a[1], origins[r, 2] - a[2]
            u = s0 * p0 + s1 * p1 + s2 * p2
            if u < -1e-9 or u > det + 1e-9:
                continue
            q0 = s1 * e[2] - s2 * e[1]
            q1 = s2 * e[0] - s0 * e[2]
            q2 = s0 * e[1] - s1 * e[0]
            v = d0 * q0 + d1 * q1 + d2 * q2
            if v < -1e-9 or u + v > det + 1e-9:
                continue
            z = (f[0] * q0 + f[1] * q1 + f[2] * q2) / det
            if 0 < z < distance[r]:
                distance[r] = z
                hit[r] = t
    return hit, distance


def drape(onto: Mesh, origins: Grid, directions: np.ndarray, lift: float) -> Mesh:
    """Lays a grid of points onto a mesh along rays and lifts it by `lift` along the surface normal.

    Args:
        onto: the surface; only triangles that face the rays, not edge-on, count.
        origins: (R, C, 3) ray origins outside the surface. The patch is wound to face the rays.
        directions: (3,) or (R, C, 3).
        lift: distance above the surface.

    Cells with a corner whose ray misses the surface are left out.
    """
    rows, columns, _ = origins.shape
    directions = np.ascontiguousarray(np.broadcast_to(directions, origins.shape).reshape(-1, 3), float)
    start = np.ascontiguousarray(origins.reshape(-1, 3), float)
    normal = face_normals(onto)
    facing = np.flatnonzero(normal @ directions.mean(0) < -0.1)
    hit, distance = _first_hits(start, directions, onto.vertices[onto.faces[facing]])
    seen = hit >= 0
    points = np.zeros_like(start)
    points[seen] = start[seen] + distance[seen, None] * directions[seen] + lift * normal[facing[hit[seen]]]
    faces = grid_faces(rows, columns)
    faces = faces[seen[faces].all(-1)]
    if len(faces) == 0:
        return Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int64))
    used, faces = np.unique(faces, return_inverse=True)
    patch = Mesh(points[used], faces.reshape(-1, 3))
    return flip(patch) if (face_normals(patch) @ directions.mean(0)).mean() > 0 else patch


def ruled(low: Float[np.ndarray, "N D"], high: Float[np.ndarray, "N D"], rows: int) -> np.ndarray:
    """(rows, N, D) straight lines between two curves."""
    t = np.linspace(0, 1, rows)[:, None, None]
    return low * (1 - t) + high * t


def ribbon(path: Float[np.ndarray, "N 2"], width: float) -> Float[np.ndarray, "2 N 2"]:
    """The two edges of a band of constant width along a plane curve."""
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=-1, keepdims=True)
    side = np.stack([-tangent[:, 1], tangent[:, 0]], -1) * (width / 2)
    return np.stack([path - side, path + side])


def smoothed(x: np.ndarray, knots: np.ndarray, values: np.ndarray, sigma: float) -> np.ndarray:
    """A polyline whose corners are rounded by a Gaussian of width `sigma`, evaluated at x."""
    fine = np.linspace(knots[0] - 4 * sigma, knots[-1] + 4 * sigma, 600)
    step = fine[1] - fine[0]
    reach = int(np.ceil(4 * sigma / step))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * step / sigma) ** 2)
    first = (values[1] - values[0]) / (knots[1] - knots[0])
    last = (values[-1] - values[-2]) / (knots[-1] - knots[-2])
    line = np.interp(fine, knots, values)
    line += first * np.minimum(fine - knots[0], 0) + last * np.maximum(fine - knots[-1], 0)
    padded = np.concatenate(
        [
            line[0] + first * step * np.arange(-reach, 0),
            line,
            line[-1] + last * step * np.arange(1, reach + 1),
        ]
    )
    return np.interp(x, fine, np.convolve(padded, kernel / kernel.sum(), "valid"))
