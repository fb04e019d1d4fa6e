#!/usr/bin/env python3
"""A control plane in a few lines: a request a line, an answer a line.

    control_plane.py 127.0.0.1:9900
    control_plane.py unix:/run/control.sock

    echo hello     ->  ok hello
    whoami         ->  ok WORKSPACE          (from its own environment)
    anything else  ->  refused REASON

What a real one allows, and in which words, is its own business: microagent carries the bytes and never
looks at them. A client that only connects and closes is microagent asking whether somebody is there.
"""

import os
import socket
import socketserver
import sys

LINE_BYTES_MAX = 1 << 16


class Caller(socketserver.StreamRequestHandler):
    def handle(self):
        while line := self.rfile.readline(LINE_BYTES_MAX):
            self.wfile.write(answer(line.decode(errors="replace").strip()).encode() + b"\n")


def answer(request):
    method, _, argument = request.partition(" ")
    if method == "echo":
        return f"ok {argument}"
    if method == "whoami":
        return f"ok {os.environ.get('WORKSPACE', 'unnamed')}"
    return f"refused `{method}` is not allowed"


class Tcp(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


class Unix(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 128


def server(address):
    if address.startswith("unix:"):
        path = address.removeprefix("unix:")
        if os.path.exists(path):
            os.unlink(path)
        return Unix(path, Caller)
    host, port = address.rsplit(":", 1)
    Tcp.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return Tcp((host.strip("[]"), int(port)), Caller)


if __name__ == "__main__":
    with server(sys.argv[1]) as listening:
        print("listening", flush=True)
        listening.serve_forever()
