"""`sparsegen serve` as a person starts and stops it."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from urllib.error import HTTPError
from urllib.request import Request, urlopen

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


@contextmanager
def running(folder, *arguments):
    """The command with a small network, once it answers: its process, its address and its first line."""
    save_pretrained(build(small()), folder)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "sparsegen", "serve", "--no-browser", "--port", address.split(":")[-1]]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [*command, "--model", str(folder), *arguments],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout
        first = process.stdout.readline()
        try:
            while process.poll() is None:
                try:
                    urlopen(f"{address}/").close()
                    break
                except OSError:  # the line is printed a moment before the server listens
                    continue
            yield process, address, first
        finally:
            process.send_signal(signal.SIGINT)


def test_it_answers_on_this_machine_and_stops_on_ctrl_c(tmp_path):
    with running(tmp_path) as (process, address, first):
        assert first.startswith(address)
        assert b"sparsegen" in urlopen(f"{address}/").read()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")


def test_for_all_machines_it_answers_to_addresses_and_to_its_own_names(tmp_path):
    def answer(host):
        try:
            return urlopen(Request(f"{address}/", headers={"Host": host})).status
        except HTTPError as error:
            return error.code

    arguments = ("--host", "0.0.0.0", "--allow-host", "studio.example.com", "--allow-host", "10.0.0.9.nip.io")
    with running(tmp_path, *arguments) as (_, address, first):
        assert first.startswith("http://0.0.0.0:")
        own = socket.gethostname()
        names = ("192.168.1.7", "localhost:9", own, socket.getfqdn(), f"{own.split('.')[0]}.local")
        for name in (*names, "studio.example.com", "10.0.0.9.nip.io"):
            assert (name, answer(name)) == (name, 200)
        for name in ("evil.example", f"evil.{own}"):
            assert (name, answer(name)) == (name, 400)


@pytest.mark.parametrize("name", ["http://studio.example.com", "studio.example.com:80", "*", ""])
def test_a_name_to_answer_to_that_is_none(name, capsys):
    assert main(["serve", "--no-browser", "--allow-host", name]) == 2
    assert f"--allow-host: expected a name such as studio.example.com, found {name!r}" in told(capsys)


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
