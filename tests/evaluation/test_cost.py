"""Sizes against other programs' count of the bytes, and times against a clock that is known."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import cast

import numpy as np
import plyfile
import pytest
import torch

from sparsegen.data.packed import Viewsets
from sparsegen.data.protocols import Protocol
from sparsegen.evaluation import cost
from sparsegen.evaluation.document import Table
from sparsegen.evaluation.predictors import Generated
from sparsegen.evaluation.tasks import Task
from sparsegen.formats.gaussian_files import save_gaussians
from sparsegen.gaussians import Gaussians
from sparsegen.splatting.scenes import random_scene


def test_cost_of_an_object(
    viewsets: Viewsets, protocol: Protocol, tmp_path_factory: pytest.TempPathFactory
) -> None:
    gaussians, _ = random_scene(count=200)
    calls = []

    def generate(task: Task) -> Gaussians:
        calls.append(task.seeds)
        time.sleep(0.02)
        return gaussians

    predictor = cast(
        Generated,
        SimpleNamespace(
            generate=generate,
            pipeline=SimpleNamespace(device=torch.device("cpu"), model=SimpleNamespace(num_queries=200)),
        ),
    )
    costs = cost.measure({"model": predictor}, viewsets, protocol, [3, 1], seed=0)
    found = costs["model"]
    assert found.primitives == 200
    floats = [getattr(gaussians, key).numel() for key in ("means", "quats", "scales", "opacities", "colors")]
    assert found.float32_kb == pytest.approx(4 * sum(floats) / 1024)
    path = tmp_path_factory.mktemp("cost") / "object.ply"
    save_gaussians(path, gaussians[0])
    vertices = plyfile.PlyData.read(path)["vertex"].data
    assert np.prod(vertices.shape) == 200
    header = path.stat().st_size - vertices.nbytes
    assert 0 < header < 2000
    assert found.ply_kb == pytest.approx((vertices.nbytes + header) / 1024)
    assert 0 < found.spz_kb < found.float32_kb
    assert found.seconds >= 0.02
    assert len(calls) == 2 + cost.WARMUP + cost.REPEATS
    table = cost.section(costs).blocks[0]
    assert isinstance(table, Table)
    assert table.rows[0][:3] == ["model", "200", f"{found.float32_kb:.1f}"]
