"""`sparsegen serve`: the page on this machine."""

from __future__ import annotations

import argparse
import importlib.util
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

SUMMARY = "open the local page: pictures in, objects to look at, edit and download"

_EXAMPLES = """\
examples:
  sparsegen serve                     opens http://127.0.0.1:8000
  sparsegen serve --port 9000 --no-browser
  sparsegen serve --host 0.0.0.0      for every machine that reaches this one: there is no password
  sparsegen serve --allow-host studio.example.com
                                      behind a proxy of that name, which passes the Host header on
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXAMPLES
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine alone)")
    add("--port", type=int, default=8000, help="default: 8000")
    add(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="answer to this name, too, of a proxy for example; repeatable (default: this machine's own)",
    )
    add("--model", type=Path, help="model folder, or the reference's model.pth (default: shipped weights)")
    add("--device", default="auto", help="cpu, cuda or auto (default)")
    add("--no-browser", action="store_true", help="open no browser")


def run(args: argparse.Namespace) -> None:
    from sparsegen.errors import InputError

    if not 1 <= args.port <= 65535:
        raise InputError(f"--port: expected 1 to 65535, found {args.port}")
    missing = [
        name for name in ("fastapi", "uvicorn", "python_multipart") if not importlib.util.find_spec(name)
    ]
    if missing:
        raise InputError(f"the page needs {', '.join(missing)}; run: pip install 'sparsegen[serve]'")
    _check_names(args.allow_host)
    with _listen(args.host, args.port) as listener:
        _serve(args, listener)


def _serve(args: argparse.Namespace, listener: socket.socket) -> None:
    import uvicorn

    from sparsegen.generation import Pipeline
    from sparsegen.serving.app import create_app
    from sparsegen.serving.hosts import THIS_MACHINE, names_of_this_machine

    local = args.host in ("127.0.0.1", "localhost", "::1")
    pipeline = Pipeline.from_pretrained(args.model, args.device)
    own = () if local else (args.host, *names_of_this_machine())
    app = create_app(pipeline, hosts=(*THIS_MACHINE, *own, *args.allow_host), any_address=not local)
    address = f"http://{f'[{args.host}]' if ':' in args.host else args.host}:{args.port}"
    print(f"{address}  (Ctrl-C stops it)", flush=True)
    if not local:
        print("this page has no password: whoever reaches this address can use it", flush=True)
    if not args.no_browser:
        _open_soon(address)
    with suppress(KeyboardInterrupt):  # the way to stop it
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


def _check_names(names: list[str]) -> None:
    from sparsegen.errors import InputError
    from sparsegen.serving.hosts import is_name

    for name in names:
        if not is_name(name):
            raise InputError(
                f"--allow-host: expected a name such as studio.example.com, found {name!r}; "
                "give it without http:// and without a port"
            )


def _listen(host: str, port: int) -> socket.socket:
    """What nobody else can take while the model is loaded."""
    import socket

    from sparsegen.errors import InputError

    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        reason = (error.strerror or str(error)).split(" (")[0]  # Python adds the address
        raise InputError(
            f"{host}:{port} cannot be listened on ({reason}); choose another --port or --host"
        ) from None


def _open_soon(address: str) -> None:
    """Open the browser once the server has had a moment to start."""
    import threading
    import webbrowser

    timer = threading.Timer(1.0, webbrowser.open, [address])
    timer.daemon = True
    timer.start()
