"""The command's frame: verbs, help, one-line mistakes."""

import importlib
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from sparsegen.cli import main as cli
from sparsegen.errors import InputError

OUT_OF_MEMORY = "out of memory; ask for less (--size, --samples) or close other programs"


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"]])
def test_help_lists_every_verb_without_torch(argv):
    program = (
        "import sys\n"
        "from sparsegen.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "finally:\n    print('heavy:', {'torch', 'numpy', 'numba', 'PIL'} & set(sys.modules))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, *argv], capture_output=True, text=True, check=True
    )
    for verb in ("generate", "render", "info"):
        assert f"\n  {verb}" in result.stdout
    assert result.stdout.endswith("heavy: set()\n")


def _glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"


def test_version_is_the_installed_one(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"sparsegen {version('sparsegen')}\n"


def test_only_a_process_of_its_own_changes_how_garbage_is_collected():
    program = (
        "import gc, sys\n"
        "from sparsegen.cli.main import main\n"
        "before = gc.get_threshold()\n"
        "sys.argv = ['sparsegen']\n"
        "main([])\n"
        "inside = gc.get_threshold()\n"
        "main()\n"
        "print(inside == before, gc.get_threshold() == before)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "True False"


@pytest.mark.parametrize("verb", cli._verbs())
def test_every_verb_has_help(verb, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main([verb, "--help"])
    assert stopped.value.code == 0
    assert f"sparsegen {verb}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["generat"], "did you mean generate?"),
        (["zzz"], "bench"),
        (["main"], "no verb 'main'"),
        (["--nonsense"], "--nonsense"),
        (["render"], "sparsegen render --help"),
        (["render", "x.ply", "--size", "big"], "--size"),
    ],
)
def test_mistakes_are_one_line(argv, words, capsys):
    assert cli.main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("sparsegen: ")
    assert captured.err.count("\n") == 1
    assert words in captured.err


@pytest.mark.parametrize(
    ("fault", "status", "line"),
    [
        (InputError("two\nlines"), 2, "sparsegen: two lines\n"),
        (MemoryError(), 2, f"sparsegen: {OUT_OF_MEMORY}\n"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 2, f"sparsegen: {OUT_OF_MEMORY}\n"),
        (KeyboardInterrupt(), 130, "sparsegen: interrupted; unfinished outputs were removed\n"),
        (KeyboardInterrupt("2 of 4 are kept"), 130, "sparsegen: interrupted; 2 of 4 are kept\n"),
    ],
)
def test_what_a_verb_raises(monkeypatch, capsys, fault, status, line):
    def run(args):
        raise fault

    monkeypatch.setattr(importlib.import_module("sparsegen.cli.info"), "run", run)
    assert cli.main(["info", "x"]) == status
    assert capsys.readouterr().err == line


def test_a_closed_pipe_is_no_fault():
    command = f"{sys.executable} -m sparsegen --help | true; exit ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert result.stderr == ""


@pytest.mark.parametrize("verb", ["info", "generate"])
def test_a_name_that_is_too_long_is_one_line(verb, capsys):
    name = f"{'a' * 300}.png"
    assert cli.main([verb, name]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"sparsegen: {name}: this name is too long")
    assert error.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("words", [["--help"], ["info", "--help"], ["--version"]])
def test_an_output_that_is_full_is_one_line(words):
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "sparsegen", *words]
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr == (
        "sparsegen: standard output: cannot be written (No space left on device); "
        "free some space, or write elsewhere\n"
    )


_FAULTS = """
import resource, sys
import torch
from sparsegen.cli.main import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def ask(times):
    for _ in range(times):
        several = [torch.ones(250_000) for _ in range(150)]
        del several
ask(20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
ask(40)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not _glibc(), reason="the C library is not glibc")
def test_freed_memory_is_not_asked_of_the_system_again():
    """Counted by the system: page faults of 150 tensors, made and freed forty times."""
    # What glibc does by itself depends on where in the heap things lie. With this setting it maps every large
    # piece of memory anew, and gives it back when it is freed.
    environment = {**os.environ, "GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=131072"}
    kept, given_back = (
        int(subprocess.check_output([sys.executable, "-c", _FAULTS, how], env=environment))
        for how in ("keep", "give back")
    )
    assert given_back > 40 * 150  # at the least one a tensor, were pages as large as that
    assert kept < 0.1 * given_back
