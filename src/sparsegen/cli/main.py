"""The `sparsegen` command: finds the verb, sets logging up, turns user mistakes into one line.

A verb is a module of this package with `SUMMARY`, `add_arguments(parser)` and `run(args)`. Modules are
imported only for help and for the verb that was asked for, so they import what is heavy inside `run`.
"""

from __future__ import annotations

import argparse
import atexit
import difflib
import errno
import gc
import importlib
import io
import logging
import os
import pkgutil
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NoReturn

import sparsegen.cli
from sparsegen.errors import InputError

# Of glibc's malloc.h, in bytes: free memory kept at the top of the heap, what more is asked for at a time,
# and the smallest piece that is mapped on its own (this is the most that glibc takes).
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_MALLOC_OPTIONS = {_M_TRIM_THRESHOLD: 1 << 30, _M_TOP_PAD: 1 << 26, _M_MMAP_THRESHOLD: 1 << 25}

_DISK_FAULTS = (errno.ENOSPC, errno.EIO)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `sparsegen ARGV...` and return its exit status: 0, 2 for a user's mistake, 130 for Ctrl-C."""
    _never_fail_to_print_a_name()
    if argv is None:
        _spare_the_collector()
        keep_freed_memory()
    try:
        return _run_and_flush(sys.argv[1:] if argv is None else argv)
    except InputError as error:
        return _say(" ".join(str(error).splitlines()), 2)
    except KeyboardInterrupt as stop:  # a verb that keeps what it has done says so in it
        return _say(f"interrupted; {str(stop) or 'unfinished outputs were removed'}", 130)
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        return _say("out of memory; ask for less (--size, --samples) or close other programs", 2)
    except BrokenPipeError:
        # The reader of our output has gone, as in `sparsegen info x.ply | head -1`: that is no fault.
        _print_no_more()
        return 141
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return _say(f"{error.filename}: this name is too long for a file; give a shorter one", 2)
        if error.errno not in _DISK_FAULTS:
            raise
        _print_no_more()
        where = error.filename or "standard output"
        return _say(f"{where}: cannot be written ({error.strerror}); free some space, or write elsewhere", 2)


def _run_and_flush(argv: Sequence[str]) -> int:
    """What `print` has kept back is written here, where a fault can still be told."""
    try:
        status = _run(argv)
    except SystemExit:  # after help
        sys.stdout.flush()
        raise
    sys.stdout.flush()
    return status


def _print_no_more() -> None:
    # What is left in the buffer would fail again when Python ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(argv: Sequence[str]) -> int:
    args = _top_parser().parse_args(argv)
    if args.verb is None:
        print(_help())
        return 0
    verb = _load(args.verb)
    parser = _Parser(prog=f"sparsegen {args.verb}", description=_sentence(verb.SUMMARY))
    verb.add_arguments(parser)
    _add_verbose(parser)
    verb_args = parser.parse_args(args.arguments)
    _log_to_stderr(args.verbose or verb_args.verbose)
    return verb.run(verb_args) or 0


class _Parser(argparse.ArgumentParser):
    """Reports mistakes as `InputError`, so that they are one line like every other."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help")

    def print_help(self, file: Any = None) -> None:
        print(self.format_help(), end="", file=file)  # argparse passes over what cannot be written


class _Help(argparse.Action):
    def __call__(self, *_: object) -> NoReturn:
        print(_help())
        raise SystemExit(0)


class _Version(argparse.Action):
    def __call__(self, *_: object) -> NoReturn:
        from importlib.metadata import version

        print(f"sparsegen {version('sparsegen')}")
        raise SystemExit(0)


def _top_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="sparsegen", add_help=False)
    parser.add_argument("-h", "--help", action=_Help, nargs=0)
    parser.add_argument("--version", action=_Version, nargs=0)
    _add_verbose(parser)
    parser.add_argument("verb", nargs="?")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    return parser


def _add_verbose(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-v", "--verbose", action="store_true", help="also log details")


def _help() -> str:
    summaries = {name: _load(name).SUMMARY for name in _verbs()}
    width = max(map(len, summaries))
    lines = [f"  {name:<{width}}  {summary}" for name, summary in summaries.items()]
    return "\n".join(
        [
            "usage: sparsegen [-v] VERB ...",
            "",
            "One picture in, 3D Gaussians out.",
            "",
            *lines,
            "",
            "sparsegen VERB --help tells more; --version prints the version; -v logs details.",
        ]
    )


def _verbs() -> list[str]:
    names = (module.name for module in pkgutil.iter_modules(sparsegen.cli.__path__))
    return sorted(name for name in names if name != "main" and not name.startswith("_"))


def _load(name: str) -> ModuleType:
    verbs = _verbs()
    if name not in verbs:
        close = difflib.get_close_matches(name, verbs, n=1)
        hint = f"did you mean {close[0]}?" if close else "see sparsegen --help"
        raise InputError(f"no verb {name!r} among {', '.join(verbs)}; {hint}")
    return importlib.import_module(f"sparsegen.cli.{name}")


def _sentence(summary: str) -> str:
    return summary[0].upper() + summary[1:] + "."


def _log_to_stderr(verbose: bool) -> None:
    logging.basicConfig(format="%(message)s")
    logging.getLogger("sparsegen").setLevel(logging.DEBUG if verbose else logging.INFO)


def _spare_the_collector() -> None:
    # What PyTorch and Numba make when they are imported lives as long as the process: walks over it, many
    # while it is made and one more at the end, free nothing and took a quarter of a short command's time.
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)


def keep_freed_memory() -> None:
    """Leaves freed memory with the process, for its next tensors, where the C library is glibc.

    A network asks for megabytes hundreds of times in a pass and frees them again. glibc hands them back to
    the system and gets them anew, page by page, each cleared: a tenth of a pass. The largest tensors are
    still handed back.
    """
    if sys.platform != "linux":
        return
    import ctypes

    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for option, size in _MALLOC_OPTIONS.items():
            libc.mallopt(option, size)


def _never_fail_to_print_a_name() -> None:
    # File names may hold bytes that the terminal's encoding cannot show.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _is_out_of_memory(error: Exception) -> bool:
    # PyTorch's allocator on the CPU says so only in words; torch itself is not imported here.
    known_by_name = type(error).__name__ in ("MemoryError", "OutOfMemoryError")
    return known_by_name or "can't allocate memory" in str(error)


def _say(message: str, status: int) -> int:
    print(f"sparsegen: {message}", file=sys.stderr)
    return status
