"""The names that a server answers to.

A page of another site can let its own name point to this machine, and would then be of the same site as the
server (DNS rebinding). The Host header tells: it is that name, and never an address.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from ipaddress import ip_address

from starlette.datastructures import Headers
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

# Names that only this machine answers to.
THIS_MACHINE = ("127.0.0.1", "localhost", "[::1]")

_NAME = re.compile(r"[a-z0-9_.-]+|\[[0-9a-f:.]+\]", re.IGNORECASE)
_ADDRESS = re.compile(r"(?:([0-9.]+)|\[([0-9a-f:.]+)\])(?::[0-9]*)?", re.IGNORECASE)


class KnownHosts(TrustedHostMiddleware):
    """Refuses other Host headers than these names, and with `any_address` also takes IP addresses."""

    def __init__(self, app: ASGIApp, names: Sequence[str], any_address: bool) -> None:
        super().__init__(app, names)
        self.any_address = any_address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.any_address and scope["type"] == "http" and _is_address(Headers(scope=scope).get("host", "")):
            return await self.app(scope, receive, send)
        return await super().__call__(scope, receive, send)


def names_of_this_machine() -> tuple[str, ...]:
    """What other machines may call this one: its name, with its domain, and as local networks tell it."""
    name = socket.gethostname()
    first = name.split(".")[0]
    return (name, socket.getfqdn(), first, f"{first}.local")


def is_name(text: str) -> bool:
    """Whether a Host header can be this text and a port: a name, or an address, IPv6 in brackets."""
    return _NAME.fullmatch(text) is not None


def _is_address(host: str) -> bool:
    found = _ADDRESS.fullmatch(host)
    if found is None:
        return False
    try:
        ip_address(found[1] or found[2])
    except ValueError:
        return False
    return True
