"""What every request must pass before it reaches the page's functions."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADERS = {
    # The renderer sorts in a worker made from a blob, in WebAssembly.
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src blob:; "
    "img-src 'self' blob: data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Guard:
    """Refuses bodies that are too large or of unknown length, and requests that other sites make.

    The length is refused before anything is read: servers read no more than what was announced.
    """

    def __init__(self, app: ASGIApp, upload_bytes: int) -> None:
        self.app, self.upload_bytes = app, upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        refusal = self._refusal(scope["method"], headers)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        if refusal is None:
            return await self.app(scope, receive, send_with_headers)
        return await JSONResponse({"detail": refusal[1]}, refusal[0])(scope, receive, send_with_headers)

    def _refusal(self, method: str, headers: Headers) -> tuple[int, str] | None:
        origin = headers.get("origin")
        if origin is not None and _host(origin) != headers.get("host", ""):
            return 403, "requests of other sites are refused; use the page of this server"
        if method in ("GET", "HEAD", "OPTIONS"):
            return None
        length = headers.get("content-length", "0" if method == "DELETE" else "")
        if "transfer-encoding" in headers or not length.isdecimal():
            return 411, "the length of the request is not known; send Content-Length"
        if int(length) > self.upload_bytes:
            return 413, f"{int(length):,} bytes are too many, expected at most {self.upload_bytes:,}"
        return None


def _host(origin: str) -> str | None:
    """The host and port of an origin; None where it is none."""
    try:
        return urlsplit(origin).netloc or None
    except ValueError:
        return None
