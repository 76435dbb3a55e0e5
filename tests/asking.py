"""What tests ask the server for."""

import io
import threading
import time

import numpy as np
import torch
from PIL import Image

from sparsegen.formats.ply import save_ply

PATIENCE = 300  # seconds after which a job that does not end is given up


def cut_out(picture):
    """What `save_blob` draws."""
    rgba = torch.from_numpy(np.array(Image.open(io.BytesIO(picture)))).permute(2, 0, 1).float() / 255
    assert rgba.shape == (4, 60, 90)
    return rgba


def send(client, *pictures, **settings):
    files = [("pictures", (f"../../etc/{i}.txt", data)) for i, data in enumerate(pictures)]
    return client.post("/api/jobs", files=files, data={"azimuth": -30, "elevation": 26, **settings})


def done(client, answer):
    assert answer.status_code == 202, answer.text
    job = answer.json()
    give_up = time.monotonic() + PATIENCE
    while job["state"] in ("waiting", "running"):
        assert time.monotonic() < give_up, job
        threading.Event().wait(0.02)
        job = client.get(f"/api/jobs/{job['id']}").json()
    return job


def opened(client, gaussians, tmp_path):
    save_ply(tmp_path / "open.ply", gaussians)
    answer = client.post("/api/files", files={"file": ("x", (tmp_path / "open.ply").read_bytes())})
    assert answer.status_code == 201, answer.text
    return answer.json()


def rows(scene):
    assert scene.status_code == 200, scene.text
    return np.frombuffer(scene.content, "<f4").reshape(-1, 15)
