"""`sparsegen serve` as a person starts and stops it."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
from urllib.request import urlopen

import pytest

from networks import build, small
from sparsegen.cli.main import main
from sparsegen.errors import InputError
from sparsegen.models.pretrained import save_pretrained


@pytest.fixture
def taken():
    """A port that something listens on already."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def told(capsys):
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def test_it_answers_on_this_machine_and_stops_on_ctrl_c(tmp_path):
    save_pretrained(build(small()), tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "sparsegen", "serve", "--no-browser", "--port", str(port)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [*command, "--model", str(tmp_path)],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout
        line = process.stdout.readline()
        try:
            assert line.startswith(f"http://127.0.0.1:{port}")
            answer = None
            while answer is None and process.poll() is None:
                try:
                    answer = urlopen(f"http://127.0.0.1:{port}/").read()
                except OSError:  # the line is printed a moment before the server listens
                    continue
            assert answer
            assert b"sparsegen" in answer
        finally:
            process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")


def test_a_port_that_is_taken(taken, capsys):
    assert main(["serve", "--no-browser", "--port", str(taken)]) == 2
    assert f"127.0.0.1:{taken} cannot be listened on (Address already in use)" in told(capsys)


def test_a_port_is_held_while_the_model_is_loaded(capsys, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    def load(*_):
        with pytest.raises(OSError, match="in use"), socket.create_server(("127.0.0.1", port)):
            pass
        raise InputError("tried")

    monkeypatch.setattr("sparsegen.generation.Pipeline.from_pretrained", load)
    assert main(["serve", "--no-browser", "--port", str(port)]) == 2
    assert told(capsys) == "sparsegen: tried"


def test_a_port_out_of_range(capsys):
    assert main(["serve", "--port", "99999"]) == 2
    assert "--port: expected 1 to 65535, found 99999" in told(capsys)


def test_missing_packages_are_named_with_their_cure(monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n == "uvicorn" else find(n))
    assert main(["serve", "--no-browser"]) == 2
    assert told(capsys).endswith("the page needs uvicorn; run: pip install 'sparsegen[serve]'")
