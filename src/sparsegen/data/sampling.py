"""Training batches: viewsets with some views clean, some noised, some dropped (paper, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparsegen import flow
from sparsegen.data.packed import Viewsets
from sparsegen.errors import InputError
from sparsegen.views import Views, cat_views


@dataclass
class SamplingConfig:
    """How viewsets are drawn.

    `clean_probabilities[n]` is the chance that the network sees n clean views of a batch's objects, and
    `noised_probabilities[n]` n noised ones; the rest of the `views` is dropped from the input and only
    reconstructed. `clean_probabilities[0]` is the share of "hard" batches without any clean view.
    `rough_probability` is the share of objects whose clean views the network sees as rough cut-outs, as those
    of photographs are (`sparsegen.training.rough_cutouts`). `shuffled_inputs` shows the network the views of
    the batch's next object: what it then learns owes nothing to its input, the baseline that tells how much a
    picture is worth.
    """

    views: int = 5
    clean_probabilities: list[float] = field(default_factory=lambda: [0.1, 0.55, 0.35])
    noised_probabilities: list[float] = field(default_factory=lambda: [0.2, 0.2, 0.2, 0.4])
    pure_noise_probability: float = 0.3
    rough_probability: float = 0.0
    shuffled_inputs: bool = False


@dataclass(frozen=True)
class Batch:
    """One training step's viewsets: what the network sees and what it must reconstruct."""

    inputs: Views  # clean views first, then noised
    times: Float[Tensor, "b v"]  # of the inputs: 0 for clean, one t an object for its noised views
    clean: int  # number of clean views among the inputs
    targets: Views  # every view of the viewset, clean, with alphas
    object_ids: Int[np.ndarray, "b"]  # of the targets, in the dataset

    @property
    def noised(self) -> int:
        return self.inputs.view_count - self.clean


class Sampler:
    """Draws batches on the fly from viewsets in memory.

    Batch number `step` depends on nothing but the seed, `step` and the number of samples drawn before
    it, so a resumed run continues exactly, on any number of processes: each process takes its share of
    one global batch. Every object is seen once before any is seen again; `objects` names those to draw
    from, all of them if left out.
    """

    def __init__(
        self,
        viewsets: Viewsets,
        config: SamplingConfig,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        device: torch.device | str = "cpu",
        objects: Int[np.ndarray, "n"] | None = None,
    ) -> None:
        self.viewsets = viewsets
        self.objects = np.arange(len(viewsets)) if objects is None else objects
        self.batch_size = batch_size
        self.config = config
        self.seed = seed
        self.device = torch.device(device)
        if batch_size % world_size:
            raise InputError(
                f"batch_size {batch_size} cannot be shared by {world_size} processes: use a multiple"
            )
        share = batch_size // world_size
        if config.shuffled_inputs and share < 2:
            raise InputError(
                f"sampling.shuffled_inputs: {share} object a process cannot be shuffled: use more"
            )
        self._mine = slice(rank * share, (rank + 1) * share)
        self._clean = _distribution("sampling.clean_probabilities", config.clean_probabilities)
        self._noised = _distribution("sampling.noised_probabilities", config.noised_probabilities)
        if len(self._clean) == len(self._noised) == 1:
            raise InputError("sampling: the network must see a view, but both view counts are always 0")
        if not len(self._clean) + len(self._noised) - 2 <= config.views <= viewsets.images.shape[1]:
            raise InputError(
                f"sampling.views is {config.views}: expected at least the {len(self._clean) - 1} clean and "
                f"{len(self._noised) - 1} noised views of the probabilities, and at most the dataset's "
                f"{viewsets.images.shape[1]} views an object"
            )

    def batch(self, step: int, samples: int) -> Batch:
        """The batch of step `step`, after `samples` objects were drawn in the steps before it."""
        rng = np.random.default_rng((self.seed, 0, step))
        clean, noised = self._view_counts(rng)
        object_ids = self._objects(samples)
        order = rng.random((self.batch_size, self.viewsets.images.shape[1])).argsort(axis=1)
        view_ids = order[:, : self.config.views]  # (B, V) distinct views
        times = rng.random(self.batch_size, dtype=np.float32)
        times[rng.random(self.batch_size) < self.config.pure_noise_probability] = 1.0
        noise_seed = int(rng.integers(2**62))
        mine = self._mine
        targets = self.viewsets.views(object_ids[mine], view_ids[mine], self.device)
        t = torch.from_numpy(times[mine]).to(self.device)
        kept = cat_views(
            targets.select(slice(clean)),
            self._noise(
                targets.select(slice(self._first_noised, self._first_noised + noised)), t, noise_seed
            ),
        )
        if self.config.shuffled_inputs:
            kept, t = kept.objects(torch.arange(len(t)).roll(-1)), t.roll(-1)
        is_noised = (torch.arange(clean + noised, device=self.device) >= clean).float()
        return Batch(kept.without_alphas(), t[:, None] * is_noised, clean, targets, object_ids[mine])

    @property
    def _first_noised(self) -> int:
        return len(self._clean) - 1

    def _view_counts(self, rng: np.random.Generator) -> tuple[int, int]:
        clean = int(rng.choice(len(self._clean), p=self._clean))
        noised = int(rng.choice(len(self._noised), p=self._noised))
        if clean + noised == 0:
            # A hard batch stays hard where noised views exist at all.
            return (0, 1) if len(self._noised) > 1 else (1, 0)
        return clean, noised

    def _objects(self, samples: int) -> Int[np.ndarray, "b"]:
        count = len(self.objects)
        positions = samples + np.arange(self.batch_size)
        object_ids = np.empty(self.batch_size, dtype=np.int64)
        for epoch in np.unique(positions // count):
            shuffled = np.random.default_rng((self.seed, 1, epoch)).permutation(count)
            current = positions // count == epoch
            object_ids[current] = shuffled[positions[current] % count]
        return self.objects[object_ids]

    def _noise(self, views: Views, t: Float[Tensor, "b"], seed: int) -> Views:
        if not views.view_count:
            return views
        generator = torch.Generator(self.device).manual_seed(seed)
        shape = (self.batch_size, *views.images.shape[1:])
        # Drawn for the global batch, so that the processes together see what one would see.
        noise = torch.randn(shape, generator=generator, device=self.device)[self._mine]
        times = t[:, None].expand(-1, views.view_count)
        return Views(flow.noise_images(views.images, times, noise), views.cameras, views.alphas)


def _distribution(name: str, probabilities: Sequence[float]) -> Float[np.ndarray, "n"]:
    values = np.asarray(probabilities, dtype=np.float64)
    if not len(values) or values.min() < 0 or abs(values.sum() - 1) > 1e-6:
        raise InputError(
            f"{name} is {list(probabilities)}: expected chances of 0, 1, 2 … views that sum to 1"
        )
    return values / values.sum()
