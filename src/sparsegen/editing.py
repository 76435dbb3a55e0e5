"""Editing an object by its anchor queries: choose queries, then delete, move, scale, recolor or swap them.

A selection is one truth value for each query, so selections join by `|`, `&` and `~`. All functions take
one object (Gaussians without batch dimensions), leave it as it is, and return another. An anchor query
stands for its group of Gaussians (the paper's section 3.2), and queries are never split.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sparsegen.errors import InputError
from sparsegen.gaussians import Gaussians
from sparsegen.generation import Pipeline
from sparsegen.models import SparseGen
from sparsegen.views import Views

# Keeps the centre of a query whose Gaussians are all transparent at their average.
_LEAST_WEIGHT = 1e-6
# Pairs of queries whose distances are held at once.
_CHUNK = 2**24


def query_count(gaussians: Gaussians) -> int:
    """Anchor queries of one object."""
    return gaussians.count // gaussians.expansion


def query_centers(gaussians: Gaussians) -> Float[Tensor, "m 3"]:
    """Where each query's Gaussians are, in world units: their average, weighted by opacity."""
    means = gaussians.means.unflatten(0, (-1, gaussians.expansion))
    weights = gaussians.opacities.unflatten(0, (-1, gaussians.expansion)) + _LEAST_WEIGHT
    return (weights[..., None] * means).sum(1) / weights.sum(1, keepdim=True)


def select_ids(gaussians: Gaussians, ids: Iterable[int]) -> Bool[Tensor, "m"]:
    """The queries of these numbers. Raises `InputError` for a number that the object does not have."""
    count = query_count(gaussians)
    chosen = list(ids)
    for i in chosen:
        if not 0 <= i < count:
            raise InputError(f"query {i}: expected a number from 0 to {count - 1}, which this object has")
    selection = torch.zeros(count, dtype=torch.bool, device=gaussians.means.device)
    selection[torch.tensor(chosen, dtype=torch.long, device=selection.device)] = True
    return selection


def select_box(gaussians: Gaussians, low: Sequence[float], high: Sequence[float]) -> Bool[Tensor, "m"]:
    """The queries whose centres lie in the box between two corners, in world units."""
    centers = query_centers(gaussians)
    return ((centers >= centers.new_tensor(low)) & (centers <= centers.new_tensor(high))).all(-1)


def select_sphere(gaussians: Gaussians, center: Sequence[float], radius: float) -> Bool[Tensor, "m"]:
    """The queries whose centres lie within `radius` of a point, in world units."""
    centers = query_centers(gaussians)
    return (centers - centers.new_tensor(center)).norm(dim=-1) <= radius


def select_nearest(gaussians: Gaussians, point: Sequence[float], count: int = 1) -> Bool[Tensor, "m"]:
    """The `count` queries whose centres are nearest to a point in world units."""
    centers = query_centers(gaussians)
    distances = (centers - centers.new_tensor(point)).norm(dim=-1)
    nearest = distances.topk(min(count, len(centers)), largest=False).indices
    return select_ids(gaussians, nearest.tolist())


def grow(gaussians: Gaussians, selection: Bool[Tensor, "m"], distance: float) -> Bool[Tensor, "m"]:
    """The selection and every query whose centre lies within `distance` of one that is selected."""
    if not selection.any():
        return selection
    centers = query_centers(gaussians)
    inside = centers[selection]
    chunks = centers.split(max(1, _CHUNK // len(inside)))
    reached = torch.cat([torch.cdist(chunk, inside).amin(1) <= distance for chunk in chunks])
    return selection | reached


def shrink(gaussians: Gaussians, selection: Bool[Tensor, "m"], distance: float) -> Bool[Tensor, "m"]:
    """The selection without the queries that have one outside of it within `distance`."""
    return ~grow(gaussians, ~selection, distance)


@torch.no_grad()
def attention_likeness(pipeline: Pipeline, views: Views, queries: int | None = None) -> Float[Tensor, "m m"]:
    """How alike each two anchor queries attend to the others, 0 to 1, in one pass over clean views (1, V).

    Bhattacharyya's coefficient of the rows of the decoder's self-attention, averaged over layers and heads.
    (What queries attend to directly says little: the registers get most of the attention of all.)
    `queries` is that of `Pipeline.generate`.
    """
    model = pipeline.model
    if not isinstance(model, SparseGen):
        raise InputError("this network has no anchor queries, which could attend; use one that has")
    modules: list[Any] = [layer.self_attention for layer in model.decoder]
    inputs: list[Tensor] = []
    hooks = [m.register_forward_pre_hook(lambda _, args: inputs.append(args[0])) for m in modules]
    try:
        pipeline.reconstruct(views, queries)
    finally:
        for hook in hooks:
            hook.remove()
    weights = [module.weights(x)[0] for module, x in zip(modules, inputs, strict=True)]
    roots = [rows[:, model.config.registers :].sqrt() for rows in weights]
    return torch.stack([(r @ r.mT).mean(0) for r in roots]).mean(0).clamp(0, 1).cpu()


def grow_alike(selection: Bool[Tensor, "m"], likeness: Float[Tensor, "m m"], count: int) -> Bool[Tensor, "m"]:
    """The selection and the `count` other queries that are most like its own, on average.

    `likeness` is that of `attention_likeness`.
    """
    if not selection.any():
        return selection
    nearest = likeness[:, selection].mean(1).masked_fill(selection, -1)
    grown = selection.clone()
    grown[nearest.topk(min(count, int((~selection).sum()))).indices] = True
    return grown


def shrink_alike(
    selection: Bool[Tensor, "m"], likeness: Float[Tensor, "m m"], count: int
) -> Bool[Tensor, "m"]:
    """The selection without the `count` of its queries that are least like all of them, on average."""
    if not selection.any():
        return selection
    farthest = likeness[:, selection].mean(1).masked_fill(~selection, 2)
    shrunk = selection.clone()
    shrunk[farthest.topk(min(count, int(selection.sum())), largest=False).indices] = False
    return shrunk


def delete(gaussians: Gaussians, selection: Bool[Tensor, "m"]) -> Gaussians:
    """The object without the selected queries; those after them move up in number."""
    keep = ~of_gaussians(gaussians, selection)
    return replace(gaussians.select(keep), expansion=gaussians.expansion)


def move(gaussians: Gaussians, selection: Bool[Tensor, "m"], offset: Sequence[float]) -> Gaussians:
    """The selected queries moved by `offset`, in world units."""
    chosen = of_gaussians(gaussians, selection)[:, None]
    moved = gaussians.means + gaussians.means.new_tensor(offset)
    return replace(gaussians, means=torch.where(chosen, moved, gaussians.means))


def scale(gaussians: Gaussians, selection: Bool[Tensor, "m"], factor: float) -> Gaussians:
    """The selected queries made larger by `factor`, around the average of their centres.

    Raises `InputError` if `factor` is not positive.
    """
    if not 0 < factor < float("inf"):
        raise InputError(f"scale {factor:g}: expected a factor above 0; 2 doubles, 0.5 halves")
    if not selection.any():
        return gaussians
    chosen = of_gaussians(gaussians, selection)[:, None]
    center = query_centers(gaussians)[selection].mean(0)
    means = center + factor * (gaussians.means - center)
    return replace(
        gaussians,
        means=torch.where(chosen, means, gaussians.means),
        scales=torch.where(chosen, factor * gaussians.scales, gaussians.scales),
    )


def recolor(gaussians: Gaussians, selection: Bool[Tensor, "m"], color: Sequence[float]) -> Gaussians:
    """The selected queries in a color (r, g, b) of [0, 1], as displayed.

    Their average, weighted by opacity, becomes that color; lighter and darker places stay lighter and
    darker, as far as [0, 1] has room. Raises `InputError` for a color outside of [0, 1].
    """
    if len(color) != 3 or not all(0 <= value <= 1 for value in color):
        raise InputError(f"color {tuple(color)}: expected three numbers from 0 to 1")
    chosen = of_gaussians(gaussians, selection)
    if not chosen.any():
        return gaussians
    weights = gaussians.opacities[chosen, None] + _LEAST_WEIGHT
    average = (weights * gaussians.colors[chosen]).sum(0) / weights.sum(0)
    shifted = (gaussians.colors - average + average.new_tensor(color)).clamp(0, 1)
    return replace(gaussians, colors=torch.where(chosen[:, None], shifted, gaussians.colors))


def swap(gaussians: Gaussians, selection: Bool[Tensor, "m"], other: Gaussians) -> Gaussians:
    """The object with its selected queries taken from another object of the same model.

    Raises `InputError` if the two do not have the same queries.
    """
    mine, theirs = ((query_count(g), g.expansion) for g in (gaussians, other))
    if mine != theirs:
        raise InputError(
            f"the other object has {theirs[0]:,} queries of {theirs[1]} Gaussians, expected {mine[0]:,} of "
            f"{mine[1]}; swap between whole objects that one model made"
        )
    chosen = of_gaussians(gaussians, selection)
    tensors = {}
    for name in (f.name for f in fields(gaussians) if f.name != "expansion"):
        kept, taken = getattr(gaussians, name), getattr(other, name)
        mask = chosen if kept.ndim == 1 else chosen[:, None]
        tensors[name] = torch.where(mask, taken.to(kept), kept)
    return replace(gaussians, **tensors)


def of_gaussians(gaussians: Gaussians, selection: Bool[Tensor, "m"]) -> Bool[Tensor, "n"]:
    """The selection of queries as one of Gaussians."""
    if gaussians.batch_shape or selection.shape != (query_count(gaussians),):
        raise ValueError(
            f"expected one object and a selection of its {query_count(gaussians)} queries, got batch shape "
            f"{tuple(gaussians.batch_shape)} and a selection of shape {tuple(selection.shape)}"
        )
    return selection.repeat_interleave(gaussians.expansion)
