"""Commands of the package, run in place as a person gives them."""

from pathlib import Path

from sparsegen.cli.main import main


def run(*argv) -> int | None:
    return main([str(a) for a in argv])


def files(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


def one_line(capsys) -> str:
    """The error output: one line, no traceback."""
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("sparsegen: ")
    return lines[0]
