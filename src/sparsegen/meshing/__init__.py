"""Triangle meshes from Gaussians: depth drawn from all around, fused, and its zero level walked."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from sparsegen.cameras import Cameras, fibonacci_sphere
from sparsegen.errors import InputError
from sparsegen.gaussians import DEAD_OPACITY, Gaussians
from sparsegen.mesh import Mesh, vertex_normals
from sparsegen.meshing.colors import blend_colors
from sparsegen.meshing.depths import render_fronts
from sparsegen.meshing.fusion import Grid, fuse, grid_around
from sparsegen.meshing.surface import check_installed, closed_surface
from sparsegen.meshing.texture import bake, check_texture
from sparsegen.splatting import Rendering
from sparsegen.turntable import fit_cameras

RESOLUTIONS = (16, 512)
VIEWS = 48
STAGES = ("pictures", "distances", "surface", "texture")
# As a share of the object's longest side: how far from the surface distances are trusted. Wide enough
# for the pictures to agree on a soft surface, narrow enough for the far side of thin parts.
_TRUNCATION = 0.05
# Points along the longest side of the grid that finds out where the object is.
_COARSE = 48
# A view's pixels are about as fine as the grid.
_PIXELS_FOR_A_STEP = 2
# A texture holds all sides, a picture one: about as fine.
_TEXELS_FOR_A_PIXEL = 2
_SIZES = (128, 512)


def extract_mesh(
    gaussians: Gaussians,
    resolution: int = 128,
    views: int = VIEWS,
    texture: int | None = None,
    begin: Callable[[str], object] = lambda _: None,
) -> Mesh:
    """One object (Gaussians without batch dimensions) as a closed, colored triangle mesh.

    `resolution` is the number of grid points along the longest side; `texture` asks for a texture with so
    many texels on a side. `begin` is called with the name of each of the `STAGES`, of the last only for a
    texture. Raises `InputError` if a number is out of range, nothing solid is there, or scikit-image or, for
    a texture, xatlas is not installed.
    """
    check_resolution(resolution)
    check_installed()  # before the work
    if texture is not None:
        check_texture(texture)
    gaussians = gaussians.detach().to("cpu", torch.float32)
    finest = max(_PIXELS_FOR_A_STEP * resolution, (texture or 0) // _TEXELS_FOR_A_PIXEL)
    size = min(max(finest, _SIZES[0]), _SIZES[1])
    cameras = fit_cameras(gaussians, fibonacci_sphere(views, size=size))
    begin(STAGES[0])
    with torch.no_grad():
        pictures = render_fronts(gaussians, cameras)
    begin(STAGES[1])
    grid, truncation, field = _distances(pictures, cameras, gaussians, resolution)
    begin(STAGES[2])
    steps, faces = closed_surface(field.numpy())
    if not len(faces):
        raise InputError("no mesh: the Gaussians are too thin to have a surface; ask for more --resolution")
    vertices = grid.origin + grid.spacing * torch.from_numpy(steps)
    normals = torch.from_numpy(vertex_normals(vertices.numpy(), faces))
    paint = partial(blend_colors, pictures=pictures, cameras=cameras, tolerance=truncation)
    mesh = Mesh(vertices.numpy(), faces, paint(vertices, normals).numpy())
    if texture is None:
        return mesh
    begin(STAGES[3])
    return bake(mesh, texture, paint)


def check_resolution(resolution: int) -> None:
    """Raises `InputError` if a mesh cannot be made so coarse or so fine."""
    low, high = RESOLUTIONS
    if not low <= resolution <= high:
        raise InputError(f"--resolution: expected {low} to {high} steps, found {resolution}")


def _distances(
    pictures: Rendering, cameras: Cameras, gaussians: Gaussians, resolution: int
) -> tuple[Grid, float, Float[Tensor, "x y z"]]:
    """The grid, the truncation, and the signed distances on the grid.

    A coarse pass finds the box of what is solid: faint Gaussians reach far around it.
    """
    assert pictures.depth is not None
    low, high = _bounds(gaussians)
    for points in (min(_COARSE, resolution), resolution):
        grid = grid_around(low, high, points)
        truncation = max(_TRUNCATION * float((high - low).max()), 2 * grid.spacing)
        field = fuse(pictures.depth, pictures.alpha, cameras, grid, truncation)
        solid = grid.points()[field < 0]
        if not len(solid):
            raise InputError("no mesh: the Gaussians are too faint to have a surface; keep them as they are")
        margin = 2 * grid.spacing
        low, high = solid.amin(dim=0) - margin, solid.amax(dim=0) + margin
    return grid, truncation, field


def _bounds(gaussians: Gaussians) -> tuple[Float[Tensor, "3"], Float[Tensor, "3"]]:
    """The box of the visible Gaussians, two standard deviations wide."""
    visible = gaussians.select(gaussians.opacities > DEAD_OPACITY)
    if not visible.count:
        raise InputError("no mesh: no Gaussian is visible; generate the object again")
    reach = 2 * visible.scales.amax(dim=-1, keepdim=True)
    return (visible.means - reach).amin(dim=0), (visible.means + reach).amax(dim=0)
