"""FID and KID: how far the drawn pictures as a whole lie from the true ones, in Inception's features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from sparsegen.data.packed import Viewsets
from sparsegen.data.protocols import Protocol
from sparsegen.evaluation.document import Bullets, Section, Table
from sparsegen.evaluation.predictors import Predictor
from sparsegen.evaluation.tasks import make_task, object_seed, views_of

# Judged views drawn for each object, as the paper does.
VIEWS = 15
_KID_SUBSETS, _KID_SIZE = 100, 1000

Features = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Distances:
    """FID and KID between `pictures` drawn and as many true pictures."""

    fid: float
    kid: float
    pictures: int


@torch.inference_mode()
def measure(
    predictor: Predictor,
    viewsets: Viewsets,
    protocol: Protocol,
    ids: Sequence[int],
    seed: int,
    features: Features,
) -> Distances:
    """Distances over `VIEWS` judged views of each of the objects `ids`, drawn by lot with each one's name."""
    views = protocol.drawn_views(viewsets.cameras.batch_shape[1])
    judged = len(protocol.target_views(viewsets.cameras.batch_shape[1]))
    drawn, true = [], []
    for i in tqdm(ids, desc="FID and KID", unit="object"):
        lot = torch.Generator().manual_seed(object_seed(viewsets.names[i], 0))
        chosen = torch.randperm(judged, generator=lot)[:VIEWS].tolist()
        rgb = predictor(make_task(viewsets, protocol, [i], [i], seed)).rgb[0, chosen]
        drawn.append(features(rgb))
        true.append(features(views_of(viewsets, [i], [views[v] for v in chosen]).images[0]))
    x, y = torch.cat(drawn).double(), torch.cat(true).double()
    return Distances(frechet_distance(x, y), kernel_distance(x, y), len(x))


def frechet_distance(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> float:
    """Between Gaussians of the samples' means and covariances (Heusel et al. 2017)."""
    # The trace of (A B)^(1/2) is the sum of the singular values of A^(1/2) B^(1/2), and
    # centred samples are such roots already.
    left, right = (_root_of_covariance(samples) for samples in (x, y))
    root = torch.linalg.svdvals(left @ right.mT).sum()
    means = (x.mean(dim=0) - y.mean(dim=0)).square().sum()
    return (means + left.square().sum() + right.square().sum() - 2 * root).item()


def kernel_distance(x: Float[Tensor, "n d"], y: Float[Tensor, "n d"]) -> float:
    """Unbiased squared MMD with the cubic polynomial kernel (Binkowski et al. 2018), mean over subsets.

    Of at most `_KID_SIZE` samples there is one subset: all. It suits small sets, where FID is biased.
    """
    size = min(len(x), len(y), _KID_SIZE)
    generator = torch.Generator().manual_seed(0)
    subsets = _KID_SUBSETS if size < max(len(x), len(y)) else 1
    values = []
    for _ in range(subsets):
        a, b = (s[torch.randperm(len(s), generator=generator)[:size].to(s.device)] for s in (x, y))
        within = [_kernel(s, s) for s in (a, b)]
        same = sum((k.sum() - k.trace()) / (size * (size - 1)) for k in within)
        values.append(same - 2 * _kernel(a, b).mean())
    return torch.stack([torch.as_tensor(value) for value in values]).mean().item()


def section(distances: dict[str, Distances]) -> Section:
    rows = [[name, f"{d.fid:.2f}", f"{d.kid:.5f}", str(d.pictures)] for name, d in distances.items()]
    words = [
        f"Inception of 2015-12-05, 2048 features at 299 pixels; at most {VIEWS} judged views of each object",
        f"KID: cubic kernel, unbiased; mean over {_KID_SUBSETS} subsets of {_KID_SIZE} where there are more",
    ]
    return Section("FID and KID", [Table(["", "FID ↓", "KID ↓", "pictures"], rows), Bullets(words)])


def _root_of_covariance(samples: Float[Tensor, "n d"]) -> Float[Tensor, "k d"]:
    """A matrix whose product with its own transpose is the samples' covariance; k is at most d."""
    root = (samples - samples.mean(dim=0)) / (len(samples) - 1) ** 0.5
    return torch.linalg.qr(root, mode="r").R if len(root) > root.shape[1] else root


def _kernel(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    return (a @ b.mT / a.shape[1] + 1) ** 3
