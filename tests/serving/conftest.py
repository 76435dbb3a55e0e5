"""A server with a small network."""

import pytest
import torch
from fastapi.testclient import TestClient

from networks import build, small
from sparsegen.generation import Pipeline
from sparsegen.models.camera_head import CameraHead, CameraHeadConfig
from sparsegen.serving.app import create_app
from test_photos import save_blob


@pytest.fixture(scope="session")
def pipeline():
    torch.manual_seed(0)
    head = CameraHead(CameraHeadConfig(size=16, width=8)).eval()
    return Pipeline(build(small()), head, least_queries=2)


@pytest.fixture
def serve(pipeline):
    """Clients of servers with the limits and the clock of choice."""
    clients = []

    def start(pipeline=pipeline, **options):
        client = TestClient(create_app(pipeline, **options), "http://127.0.0.1", raise_server_exceptions=True)
        clients.append(client.__enter__())
        return client

    yield start
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def picture(tmp_path):
    return save_blob(tmp_path / "blob.png").read_bytes()
