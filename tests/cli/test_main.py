"""The command's frame: verbs, help, one-line mistakes."""

import importlib
import subprocess
import sys
from importlib.metadata import version

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
