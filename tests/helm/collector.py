"""A stand-in for an OpenTelemetry collector: keeps the spans that it is sent, OTLP over HTTP.

Reads only what it needs of the protobuf messages (opentelemetry-proto, trace/v1/trace.proto).
"""

import http.server
import threading

RESOURCE_SPANS, SCOPE_SPANS, SPANS = 1, 2, 2
TRACE_ID, SPAN_ID, PARENT_SPAN_ID = 1, 2, 4


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def fields(data):
    """Number and value of each field; only those with a length have one."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        kind, length = key & 7, {1: 8, 5: 4}.get(key & 7, 0)
        if kind == 0:
            _, at = varint(data, at)
            continue
        if kind == 2:
            length, at = varint(data, at)
        yield key >> 3, data[at : at + length]
        at += length


def inner(data, number):
    return [value for field, value in fields(data) if field == number]


class Collector:
    """`spans` are (trace, span, parent), the parent empty for a root."""

    def __init__(self):
        self.spans = []
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.take(body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, body):
        for resource in inner(body, RESOURCE_SPANS):
            for scope in inner(resource, SCOPE_SPANS):
                for span in inner(scope, SPANS):
                    ids = dict(fields(span))
                    parent = ids.get(PARENT_SPAN_ID, b"")
                    self.spans.append(tuple(it.hex() for it in (ids[TRACE_ID], ids[SPAN_ID], parent)))
