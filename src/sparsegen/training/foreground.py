"""Training of the foreground network, on cut-outs of a viewset dataset laid over backgrounds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sparsegen.data.packed import Viewsets
from sparsegen.metrics import alpha_iou
from sparsegen.models.folding import native_bfloat16
from sparsegen.models.foreground import ForegroundConfig, ForegroundNet
from sparsegen.models.pretrained import SHIPPED_WEIGHTS, load_foreground_net
from sparsegen.training.pacing import falling_steps
from sparsegen.training.scenes import Scenery, before_backgrounds, objects_anywhere

# Stages of the trunk that stay as they are, and how fast the others change beside the rest of the network.
_KEPT_STAGES, _TRUNK_SHARE = 2, 0.2


@dataclass(frozen=True)
class ForegroundTraining:
    """The recipe."""

    steps: int = 4000
    batch_size: int = 16
    lr: float = 1e-3
    weight_decay: float = 0.05
    seed: int = 0


def train_foreground(
    scenery: Scenery,
    recipe: ForegroundTraining,
    max_seconds: float | None = None,
    start: ForegroundNet | None = None,
) -> ForegroundNet:
    """A trained network, in eval mode; it goes on from `start` where one is given, in place.

    A new network begins with the trunk of the shipped one, which knows photographs of everything. Its first
    stages stay as they are, and the others change slowly, which keeps general what is learned from drawn
    objects. The learning rate falls over the steps or the clock, whichever is further; SIGINT and SIGTERM end
    training early with what was learned.
    """
    torch.manual_seed(recipe.seed)
    net = (start or _new_net()).train()
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    net.trunk[:_KEPT_STAGES].requires_grad_(False)
    own = [parameter for name, parameter in net.named_parameters() if not name.startswith("trunk.")]
    trunk = {"params": list(net.trunk[_KEPT_STAGES:].parameters()), "share": _TRUNK_SHARE}
    optimizer = torch.optim.AdamW([{"params": own}, trunk], recipe.lr, weight_decay=recipe.weight_decay)
    for step, bar in falling_steps(optimizer, recipe.lr, recipe.steps, max_seconds):
        pictures, alphas = foreground_batch(scenery, recipe, step, net.config.size)
        with torch.autocast("cpu", torch.bfloat16, enabled=native_bfloat16("cpu")):
            logits = net(pictures)
        logits = logits.float()
        loss = F.binary_cross_entropy_with_logits(logits, alphas)
        found = logits.sigmoid()
        both, sizes = (found * alphas).sum((1, 2)), (found + alphas).sum((1, 2))
        loss = loss + (1 - (2 * both + 1) / (sizes + 1)).mean()  # Dice
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 50 == 0:
            bar.set_postfix(loss=f"{float(loss.detach()):.3f}")
    return net.eval()


def _new_net() -> ForegroundNet:
    net, shipped = ForegroundNet(ForegroundConfig()), load_foreground_net(SHIPPED_WEIGHTS)
    assert shipped is not None
    net.trunk.load_state_dict(shipped.trunk.state_dict())
    return net


def foreground_batch(
    scenery: Scenery, recipe: ForegroundTraining, step: int, size: int = 128
) -> tuple[Float[Tensor, "b 3 s s"], Float[Tensor, "b s s"]]:
    """Opaque pictures of objects before backgrounds, and what is seen of the objects."""
    rng = np.random.default_rng((recipe.seed, 7, step))
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    objects = objects_anywhere(scenery, recipe.batch_size, size, rng, generator)
    return before_backgrounds(scenery, *objects, rng, generator)


@torch.no_grad()
def overlaps(net: ForegroundNet, viewsets: Viewsets, batches: int = 4) -> Float[Tensor, "n"]:
    """Intersection over union of what the network finds with the objects, in pictures made of a dataset."""
    recipe, found = ForegroundTraining(seed=-1 % 2**32), []
    for step in range(batches):
        pictures, alphas = foreground_batch(Scenery(viewsets), recipe, step, net.config.size)
        found.append(alpha_iou(net(pictures).sigmoid(), alphas))
    scores = torch.cat(found)
    return scores[~scores.isnan()]  # without objects that nothing is seen of
