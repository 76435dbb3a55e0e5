"""What is judged: anything that turns input pictures into pictures from other cameras."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from sparsegen.cameras import Cameras
from sparsegen.evaluation.tasks import Task
from sparsegen.gaussians import Gaussians, cat
from sparsegen.generation import Pipeline
from sparsegen.splatting import render
from sparsegen.views import Views


@dataclass(frozen=True)
class Prediction:
    """Pictures from the cameras `Task.targets`; `gaussians` (batch B) where the predictor has them."""

    rgb: Float[Tensor, "b v 3 h w"]
    alpha: Float[Tensor, "b v h w"]
    gaussians: Gaussians | None = None


class Predictor(Protocol):
    def __call__(self, task: Task) -> Prediction: ...


@dataclass(frozen=True)
class Generated:
    """Renders of what a pipeline generates in `steps` steps, with `queries` of its queries (None: all)."""

    pipeline: Pipeline
    steps: int = 1
    queries: int | None = None

    def __call__(self, task: Task) -> Prediction:
        gaussians = self.generate(task)
        rendering = render(gaussians, task.targets.to(self.pipeline.device), depth=False)
        return Prediction(rendering.rgb.cpu(), rendering.alpha.cpu(), gaussians.to("cpu"))

    def generate(self, task: Task) -> Gaussians:
        """Gaussians of batch shape (B,) on the pipeline's device.

        On the CPU a batch is no faster than its objects one by one, and rounds otherwise: a pixel at the
        edge of a Gaussian can flip. So the network there meets every object alone, and scores are the same
        numbers for every batch size.
        """
        if self.pipeline.device.type != "cpu":
            return self._generate(task.inputs, task.seeds, task.placeholders)
        return cat([self._generate_one(task, i) for i in range(len(task.seeds))])

    def _generate_one(self, task: Task, i: int) -> Gaussians:
        one = slice(i, i + 1)
        placeholders = None if task.placeholders is None else task.placeholders[one]
        with torch.inference_mode():
            return self._generate(task.inputs.objects(one), task.seeds[one], placeholders)

    def _generate(self, inputs: Views, seeds: Sequence[int], placeholders: Cameras | None) -> Gaussians:
        return self.pipeline.generate(inputs, seeds, self.steps, placeholders, self.queries)
