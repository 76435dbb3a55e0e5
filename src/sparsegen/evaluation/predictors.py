"""What is judged: anything that turns input pictures into pictures from other cameras."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from jaxtyping import Float
from torch import Tensor

from sparsegen.evaluation.tasks import Task
from sparsegen.gaussians import Gaussians
from sparsegen.generation import Pipeline
from sparsegen.splatting import render


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
    """Renders of what a pipeline generates in `steps` steps."""

    pipeline: Pipeline
    steps: int = 1

    def __call__(self, task: Task) -> Prediction:
        gaussians = self.pipeline.generate(task.inputs, task.seeds, self.steps, task.placeholders)
        rendering = render(gaussians, task.targets.to(self.pipeline.device), depth=False)
        return Prediction(rendering.rgb.cpu(), rendering.alpha.cpu(), gaussians.to("cpu"))
