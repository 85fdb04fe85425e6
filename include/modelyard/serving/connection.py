"""One HTTP/1.1 connection: requests in, answers out, in order."""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote

import httptools

from modelyard.serving.messages import Refused, Request, Response, refusal

if TYPE_CHECKING:
    from modelyard.serving.server import Server

MOST_HEADER_BYTES = 64 * 1024
_ASKS_ONCE = "modelyard-connection"
_LINGER = 2.0  # seconds that a client has to read the last answer before the connection is cut

_WHOLE_ADDRESS = re.compile("https?://[^/]*", re.IGNORECASE)
_REASONS = {status.value: status.phrase for status in HTTPStatus}
# As nearly every client writes them.
_NAMES = {
    spelled.encode(): name
    for name in ("host", "user-agent", "accept", "accept-encoding", "connection", "content-type", "content-length")
    for spelled in (name, name.title())
}


class Connection(asyncio.Protocol):
    """Parses requests and has the application answer them one after the other.

    A client may send the next request before it has read the last answer; reading pauses while one waits.
    """

    def __init__(self, server: Server, *, private: bool) -> None:
        self._server = server
        self._private = private
        limits = server.application.limits
        self._most_body_bytes, self._most_held_bytes = limits.body_bytes, limits.held_bytes
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._waiting: deque[tuple[Request, bool, Response | None]] = deque()
        self._answering = False
        self._reading = False  # a request has begun to arrive
        self._last = False  # whatever comes after this is not read any more
        self._cut: asyncio.TimerHandle | None = None
        self._half_closed = False  # the client has said that it sends no more
        self._blocked = False  # the client does not read its answers
        self.since = time.monotonic()  # of what `waits_for` says
        self._began = self._arrived = self.since  # the request that arrives, and the last of it so far
        self._headers: dict[str, str]
        self._fields: dict[str, str]  # the headers until they are complete, then the trailers
        self._header_bytes: int
        self._body: bytes | bytearray
        self._body_bytes: int
        self._new_message()

    @property
    def waits_for(self) -> str:
        """What comes next: "request" (idle), "rest" of one, "answer" of the application, "client" to read it, "end"."""
        if self._answering or self._waiting:
            return "client" if self._blocked else "answer"
        if self._last:
            return "end"
        return "rest" if self._reading else "request"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        self._transport = cast("asyncio.Transport", transport)
        self._server.opened(self)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002, D102
        self._server.closed(self)
        self._last = True
        self._drop()
        del self._parser  # each holds the other: the connection would stay until somebody looks for garbage
        if self._cut is not None:
            self._cut.cancel()

    def eof_received(self) -> bool:
        """Stay open for the answer that a half-closed client still waits for."""
        self._last = self._half_closed = True
        return self._answering or bool(self._waiting)

    def pause_writing(self) -> None:  # noqa: D102
        self._blocked, self.since = True, time.monotonic()

    def resume_writing(self) -> None:  # noqa: D102
        self._blocked, self.since = False, time.monotonic()
        self._next()

    def data_received(self, data: bytes) -> None:
        """Feed the parser; it calls the ``on_…`` methods below."""
        if self._last:
            return
        left = self._feed(data)
        while left and not self._last:
            left += self._feed(left.pop())
        if self._reading:
            self._arrived = time.monotonic()
            # The others have their turn first: a body in tiny chunks keeps the parser busy for long.
            self._transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._read_on)

    def _read_on(self) -> None:
        if not self._waiting and not self._transport.is_closing():
            self._transport.resume_reading()

    def _feed(self, data: bytes | memoryview) -> list[bytes | memoryview]:
        """Parse data; return what is to be parsed then, the last first."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            return [memoryview(data)[offer.args[0] :], self._head_without_offer()]
        except httptools.HttpParserError as error:
            self._refuse(400, f"this is no HTTP/1.1 request: {error}")
        return []

    def on_message_begin(self) -> None:  # noqa: D102
        self._reading = True
        self.since = self._began = time.monotonic()

    def on_url(self, url: bytes) -> None:  # noqa: D102
        self._url += url
        self._header_bytes += len(url)
        if self._header_bytes > MOST_HEADER_BYTES:
            self._refuse_header()

    def on_header(self, name: bytes, value: bytes) -> None:  # noqa: D102
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > MOST_HEADER_BYTES:
            self._refuse_header()
        known, text, fields = _NAMES.get(name) or name.decode("latin-1").lower(), value.decode("latin-1"), self._fields
        fields[known] = self._repeated(known, text) if known in fields else text

    def on_headers_complete(self) -> None:  # noqa: D102
        headers = self._headers
        if "upgrade" in headers and self._parser.should_upgrade() and self._parser.get_method() != b"CONNECT":
            self._offers = True
            return  # of another protocol; the same head comes again without that
        self._fields = {}  # of trailers, which are no headers: nobody else has looked at them as such (RFC 9110, 6.5.1)
        length = headers.get("content-length", "0")
        if "host" not in headers and self._parser.get_http_version() == "1.1":
            self._refuse(400, "this is no HTTP/1.1 request: it has no Host header (RFC 9112, 3.2)")
        elif (coding := headers.get("transfer-encoding")) is not None and coding.lower() != "chunked":
            self._refuse(501, f"the body is sent as {coding[:60]!r}; only chunked is taken: send it uncompressed")
        elif length.isdigit() and int(length) > self._most_body_bytes:
            self._refuse(413, f"the body has {length} bytes, at most {self._most_body_bytes} are taken")
        elif (
            "expect" in headers
            and headers["expect"].lower() == "100-continue"
            and self._parser.get_http_version() != "1.0"
        ):
            self._expects = not self._last
            self._next()

    def on_body(self, body: bytes) -> None:  # noqa: D102
        if self._last:
            return
        size = len(body)
        if self._body_bytes + size > self._most_body_bytes:
            self._refuse(413, f"the body is larger than the {self._most_body_bytes} bytes that are taken")
        elif self._server.held_bytes + size > self._most_held_bytes:
            text = f"{self._most_held_bytes} bytes of requests are on their way to this server; send it again later"
            self._refuse(503, text, (("retry-after", "1"),))
        else:
            self._server.held_bytes += size
            if not self._body_bytes:
                self._body = body
            elif isinstance(self._body, bytearray):
                self._body += body  # not kept as pieces, of which there may be one for each byte
            else:
                self._body = bytearray(self._body) + body
            self._body_bytes += size

    def on_message_complete(self) -> None:  # noqa: D102
        if self._last or self._offers:
            return
        # A proxy keeps its own connection to us, whatever its client wants; who asks once by way of one says so here.
        asks_once = self._headers.get(_ASKS_ONCE) == "close"
        keep = self._parser.should_keep_alive() and not self._parser.should_upgrade() and not asks_once
        request = self._request()
        self._reading = False
        self._new_message()
        self._enqueue(request, keep, None)

    def refuse_slow(self, pause: float, rate: int) -> None:
        """End a request that pauses for longer (seconds), or takes that and a second more for each ``rate`` bytes."""
        now, received = time.monotonic(), self._header_bytes + self._body_bytes
        if now - self._arrived > pause or now - self._began > pause + received / rate:
            self._refuse(408, f"the request did not arrive in time: {received} bytes in {now - self._began:.0f} s")

    def close(self) -> None:
        """End the connection without an answer."""
        self._transport.abort()

    def _new_message(self) -> None:
        self._url = b""
        self._headers = self._fields = {}
        self._offers = False  # another protocol
        self._expects = False  # the client sends the body when it is told to
        self._header_bytes = 0
        self._body = b""
        self._body_bytes = 0

    def _repeated(self, name: str, value: str) -> str:
        """Return what counts of a header that comes again."""
        if name == "host" and self._fields is self._headers:  # of trailers none counts
            self._refuse(400, "this is no HTTP/1.1 request: it has two Host headers (RFC 9112, 3.2)")
        return f"{self._fields[name]}, {value}" if name == "transfer-encoding" else value

    def _head_without_offer(self) -> bytes:
        """Return the head of a request that offers another protocol without its offer, and be ready to parse it.

        Nobody has to take up the offer (RFC 9110, 7.8); but what follows, a body too, is that protocol for the parser.
        """
        headers = "".join(f"{name}: {value}\r\n" for name, value in self._headers.items() if name != "upgrade")
        method, version = self._parser.get_method() or b"", self._parser.get_http_version().encode()
        head = b"%s %s HTTP/%s\r\n%s\r\n" % (method, self._url, version, headers.encode("latin-1"))
        self._parser = httptools.HttpRequestParser(self)
        self._new_message()
        return head

    def _refuse_header(self) -> None:
        self._refuse(431, f"the headers are larger than the {MOST_HEADER_BYTES} bytes that are taken")

    def _request(self) -> Request:
        path, _, query = self._url.decode("latin-1").partition("?")
        if path[:1] != "/" and (whole := _WHOLE_ADDRESS.match(path)):
            path = path[whole.end() :] or "/"  # RFC 9112, 3.2.2
        given = self._headers.get("x-request-id", "")
        sane = 0 < len(given) <= 128 and given.isascii() and given.isprintable()
        method = (self._parser.get_method() or b"").decode("latin-1")
        return Request(
            method=method,
            path=unquote(path) if "%" in path else path,
            query=query,
            headers=self._headers,
            body=bytes(self._body),
            id=given if sane else self._server.new_id(),
            private=self._private,
        )

    def _drop(self) -> None:
        """Let go of what will not be answered."""
        self._server.held_bytes -= self._body_bytes + sum(len(request.body) for request, _, _ in self._waiting)
        self._waiting.clear()
        self._new_message()

    def _refuse(self, status: int, message: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        """Answer what is not even a request, in its turn, and read no more."""
        if not self._last:
            request = self._request()
            self._new_message()
            self._enqueue(request, False, refusal(Refused(status, message, headers=headers)))

    def _enqueue(self, request: Request, keep: bool, response: Response | None) -> None:
        self._last = not keep
        self._waiting.append((request, keep, response))
        if self._answering or self._blocked:
            self._transport.pause_reading()
        else:
            self._next()

    def _next(self) -> None:
        """Take up the next request, if there is one and nothing is in its way."""
        if self._answering or self._blocked:
            return
        if not self._waiting:
            if self._expects:
                self._expects = False
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return
        request, keep, response = self._waiting.popleft()
        if not self._waiting:
            self._transport.resume_reading()
        if response is not None:
            self._server.application.note(request, response, time.monotonic() - self.since)
            self._server.held_bytes -= len(request.body)
            self._send(request, keep, response)
            return
        self._answering = True
        self._server.run(self._answer(request, keep))

    async def _answer(self, request: Request, keep: bool) -> None:
        response = await self._server.application.answer(request)
        self._server.held_bytes -= len(request.body)
        self._answering = False
        self._send(request, keep, response)
        self._next()

    def _send(self, request: Request, keep: bool, response: Response) -> None:
        if self._transport.is_closing():
            return
        ending = self._server.draining or self._half_closed
        keep = keep and (bool(self._waiting) or not ending)  # what was asked already is answered in any case
        head = (
            f"HTTP/1.1 {response.status} {_REASONS[response.status]}\r\n"
            f"content-type: {response.content_type}\r\ncontent-length: {len(response.body)}\r\n"
            f"x-request-id: {request.id}\r\nconnection: {'keep-alive' if keep else 'close'}\r\n"
        ) + "".join(f"{name}: {value}\r\n" for name, value in response.headers)
        body = b"" if request.method == "HEAD" else response.body
        self._transport.write(head.encode("latin-1") + self._server.headers + b"\r\n" + body)
        self.since = self._began = self._arrived = time.monotonic()  # of the next request nothing was read meanwhile
        if not keep:
            self._end()

    def _end(self) -> None:
        """Close so that the client gets the last answer: first our side, the whole when it has closed its own."""
        self._last = True
        self._drop()
        self._transport.resume_reading()  # unread bytes would make the kernel reset the connection, and lose the answer
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._cut = asyncio.get_running_loop().call_later(_LINGER, self._transport.abort)
