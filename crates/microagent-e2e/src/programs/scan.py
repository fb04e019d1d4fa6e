"""Tries, from inside a guest, everything that a case names: `way address port` in each word. Ways are `tcp`
and `udp`, by the guest's kernel, and `made`, a TCP handshake in frames that this program makes itself, since
a kernel would keep an address like 127.0.0.1 off the wire and a hostile guest does not. Prints each word
with `yes` or `no`.
"""

import os
import socket
import struct
import sys
import threading
import time

LIMIT = float(os.environ.get("SCAN_SECONDS", "4"))
V4, V6 = "10.0.2.15", "fd00:6d61::15"


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def tcp(address, port):
    with socket.socket(family(address), socket.SOCK_STREAM) as client:
        client.settimeout(LIMIT)
        client.connect((address, port))
        return bool(client.recv(100))


QUESTION = b"\x12\x34\x01\x00\0\1\0\0\0\0\0\0\4name\4test\0\0\1\0\1"


def udp(address, port):
    with socket.socket(family(address), socket.SOCK_DGRAM) as client:
        client.settimeout(LIMIT / 4)
        for _ in range(4):
            client.sendto(QUESTION, (address, port))
            try:
                return bool(client.recv(2000))
            except TimeoutError:
                pass
    return False


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def syn(address, port, own_port):
    kind = family(address)
    source, destination = (socket.inet_pton(kind, text) for text in (V6 if ":" in address else V4, address))
    head = struct.pack("!HHIIBBHHH", own_port, port, 1000, 0, 0x50, 2, 65535, 0, 0)
    pseudo = source + destination
    pseudo += struct.pack("!BBH", 0, 6, 20) if kind == socket.AF_INET else struct.pack("!I3xB", 20, 6)
    segment = head[:16] + struct.pack("!H", checksum(pseudo + head)) + head[18:]
    if kind == socket.AF_INET6:
        return b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, 20, 6, 64) + source + destination + segment
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 40, 1, 0, 64, 6, 0) + source + destination
    return b"\x08\x00" + ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:] + segment


def gateway():
    """The hardware address of the other end of the wire."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(QUESTION, ("10.0.2.3", 53))
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        for line in open("/proc/net/arp").read().splitlines()[1:]:
            words = line.split()
            if words[0] == "10.0.2.3" and words[3] != "00:00:00:00:00:00":
                return bytes.fromhex(words[3].replace(":", ""))
        time.sleep(0.05)
    raise OSError("nobody answers on the wire")


def made(address, port):
    name = next(name for name in os.listdir("/sys/class/net") if name.startswith("eth"))
    own = bytes.fromhex(open(f"/sys/class/net/{name}/address").read().strip().replace(":", ""))
    own_port = 40000 + hash((address, port)) % 20000
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as wire:
        wire.bind((name, 0))
        wire.settimeout(0.2)
        frame = gateway() + own + syn(address, port, own_port)
        end = time.monotonic() + LIMIT
        wire.send(frame)
        while time.monotonic() < end:
            try:
                heard = wire.recv(2000)
            except TimeoutError:
                continue
            start = {b"\x08\x00": 34, b"\x86\xdd": 54}.get(heard[12:14])
            if not start or heard[:6] != own or len(heard) < start + 14:
                continue
            if struct.unpack("!HH", heard[start : start + 4]) == (port, own_port):
                return heard[start + 13] & 0x12 == 0x12
    return False


def attempt(word, found):
    way, address, port = word.split()
    try:
        found[word] = {"tcp": tcp, "udp": udp, "made": made}[way](address, int(port))
    except (OSError, StopIteration):
        found[word] = False


found = {}
threads = [threading.Thread(target=attempt, args=(word, found)) for word in sys.argv[1:]]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
for word in sys.argv[1:]:
    print(word, "yes" if found[word] else "no")
