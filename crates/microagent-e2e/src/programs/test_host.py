"""What listens on one host of a case: TCP 8000 and UDP 8001 that say the host's name, HTTP on 8080, a sink
on TCP 9000 that tells when it last heard something, and with `dns` a stub resolver on 127.0.0.53. Ends with
its stdin.
"""

import http.server
import socket
import struct
import sys
import threading
import time

NAME = sys.argv[1]
V4, V6 = "198.51.100.10", "2001:db8:2::10"


def bound(family, kind, address, port):
    server = socket.socket(family, kind)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    server.bind((address, port))
    if kind == socket.SOCK_STREAM:
        server.listen(128)
    return server


def greet(server):
    while True:
        peer, _ = server.accept()
        peer.sendall(NAME.encode() + b"\n")
        peer.close()


def answer(server):
    while True:
        _, peer = server.recvfrom(2000)
        server.sendto(NAME.encode() + b"\n", peer)


def sink(server):
    while True:
        peer, _ = server.accept()
        threading.Thread(target=drain, args=(peer,), daemon=True).start()


def drain(peer):
    print("sink: begun", flush=True)
    last = 0.0
    peer.settimeout(0.05)
    while True:
        try:
            if not peer.recv(65536):
                break
            last = time.time()
        except TimeoutError:
            if last and time.time() - last > 0.5:
                print(f"sink: silent since {last:.3f}", flush=True)
                last = 0.0
        except OSError:
            break
    if last:
        print(f"sink: silent since {last:.3f}", flush=True)


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"page of {NAME}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def resolve(server):
    """Answers every question for an address with the one host that there is."""
    while True:
        query, peer = server.recvfrom(2000)
        end = query.index(0, 12) + 5
        kind = struct.unpack("!H", query[end - 4 : end - 2])[0]
        data = {1: socket.inet_aton(V4), 28: socket.inet_pton(socket.AF_INET6, V6)}.get(kind)
        count = 1 if data else 0
        reply = query[:2] + struct.pack("!HHHHH", 0x8180, 1, count, 0, 0) + query[12:end]
        if data:
            reply += struct.pack("!HHHIH", 0xC00C, kind, 1, 60, len(data)) + data
        server.sendto(reply, peer)


def run(task, *arguments):
    threading.Thread(target=task, args=arguments, daemon=True).start()


for family, any_address in [(socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")]:
    run(greet, bound(family, socket.SOCK_STREAM, any_address, 8000))
    run(answer, bound(family, socket.SOCK_DGRAM, any_address, 8001))
run(sink, bound(socket.AF_INET, socket.SOCK_STREAM, "0.0.0.0", 9000))
http.server.ThreadingHTTPServer.address_family = socket.AF_INET
run(http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Page).serve_forever)
if "dns" in sys.argv:
    run(resolve, bound(socket.AF_INET, socket.SOCK_DGRAM, "127.0.0.53", 53))
print("ready", flush=True)
sys.stdin.read()
