"""Bars on a terminal, and the lines that are printed while there are some."""

import io
import sys
from contextlib import contextmanager, redirect_stderr, redirect_stdout

from sparsegen.cli._progress import progress, stages, tell


class Terminal(io.StringIO):
    """A terminal of one line's height: what a line shows is what came last over its beginning."""

    def isatty(self):
        return True

    def lines(self):
        return [line.split("\r")[-1] for line in self.getvalue().split("\n")]


@contextmanager
def on_a_terminal():
    terminal = Terminal()
    with redirect_stdout(terminal), redirect_stderr(terminal):
        yield terminal


def test_lines_are_whole_and_the_bar_is_gone_at_the_end():
    with on_a_terminal() as terminal, progress(3, "frame", "turntable") as tick:
        tick()
        tell("a line for stdout")
        tick()
        tell("another for stderr", sys.stderr)
    assert "turntable:   0%" in terminal.getvalue()
    assert "0/3" in terminal.getvalue()
    assert terminal.lines()[:2] == ["a line for stdout", "another for stderr"]
    assert terminal.lines()[2].strip() == ""


def test_stages_are_named():
    with on_a_terminal() as terminal, stages(2) as begin:
        for name in ("depths", "surface"):
            begin(name)
    assert "depths:  50%" in terminal.getvalue()
    assert "surface: 100%" in terminal.getvalue()
    assert terminal.lines()[-1].strip() == ""


def test_there_is_no_bar_of_a_single_step():
    with on_a_terminal() as terminal, progress(1, "sample") as tick:
        tick()
    assert terminal.getvalue() == ""


def test_a_file_gets_the_lines_alone(capsys):
    with progress(2, "frame") as tick:
        tick()
        tell("a line")
    assert capsys.readouterr() == ("a line\n", "")
