"""The guest's end of bulk in both directions at once. `echo` gives back what it reads, one piece after the
other, and reads nothing while it writes; `slow` writes a bulk at full speed while it reads little by little.
As `serve PORT` the first line says which; as `dial WHAT` it speaks first, over the mediation channel.
"""

import os
import socket
import sys
import threading
import time

BULK = 16 << 20
SLOW = 1 << 20
PERIOD = bytes(range(251))


def echo(peer):
    left = BULK
    while left > 0:
        piece = peer.recv(65536)
        if not piece:
            raise SystemExit("the end came early")
        peer.sendall(piece)
        left -= len(piece)


def slow(peer):
    def read():
        left = SLOW
        while left > 0:
            left -= len(peer.recv(4096))
            time.sleep(0.005)

    reader = threading.Thread(target=read)
    reader.start()
    # Pieces that begin where the period does.
    whole = PERIOD * 200
    left = BULK
    while left > 0:
        piece = whole[:left]
        peer.sendall(piece)
        left -= len(piece)
    reader.join()


def serve(peer):
    with peer:
        what = b""
        while not what.endswith(b"\n"):
            what += peer.recv(1)
        globals()[what.decode().strip()](peer)
        peer.sendall(b"done")
        peer.recv(1)


if sys.argv[1] == "serve":
    server = socket.create_server(("127.0.0.1", int(sys.argv[2])))
    # Little is held on the way, so that a bulk need not be large to fill it.
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        server.setsockopt(socket.SOL_SOCKET, option, 32768)
    print("serving", flush=True)
    while True:
        threading.Thread(target=serve, args=server.accept()[:1], daemon=True).start()
else:
    channel = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    channel.connect((2, int(os.environ["MICROAGENT_MEDIATION_PORT"])))
    channel.sendall(b"!")
    globals()[sys.argv[2]](channel)
    channel.sendall(b"done")
    channel.recv(1)
