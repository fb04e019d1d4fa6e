"""A control plane that misbehaves as the first byte of a connection says: `s` answers late, `f` never stops
talking, `h` says a megabyte and shuts its direction at once, `k` keeps still. `n`, the first byte of a
well-behaved one, is answered and closed.
"""

import socket
import sys
import threading
import time


def serve(peer):
    with peer:
        try:
            match peer.recv(1):
                case b"s":
                    time.sleep(3)
                    peer.sendall(b"late")
                case b"f":
                    while True:
                        peer.sendall(b"f" * 65536)
                case b"h":
                    peer.sendall(b"h" * (1 << 20))
                    peer.shutdown(socket.SHUT_WR)
                    while peer.recv(65536):
                        pass
                case b"k":
                    peer.recv(1)
                case b"n":
                    peer.sendall(b"now")
        except OSError:
            pass


with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=512) as server:
    print("listening", flush=True)
    while True:
        threading.Thread(target=serve, args=server.accept()[:1], daemon=True).start()
