"""Prints one JSON line for every path of a tree, so that two trees can be compared line by line.

Runs on the host on what `umoci unpack` made and in a guest on its own root disk. Contents are told by
a checksum over everything that is not zero, so it does not matter where a file has holes. Needs
nothing beyond python3-minimal. Argument: the root of the tree.
"""
import os
import stat
import sys
import zlib

CHUNK = 1 << 20


def json(value):
    """JSON of text, numbers, lists and dictionaries; the module for it is not in a minimal Python."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json(key)}: {json(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(json, value)) + "]"
    if isinstance(value, int):
        return str(value)
    plain = lambda letter: " " <= letter <= "~" and letter not in '"\\'
    return '"' + "".join(c if plain(c) else f"\\u{ord(c):04x}" for c in value) + '"'


def text(raw):
    return os.fsencode(raw).decode("latin-1")


def content(path, size):
    """A checksum over position and bytes of every chunk that is not all zero."""
    check = 0
    with open(path, "rb", buffering=0) as file:
        position = 0
        while position < size:
            try:
                position = os.lseek(file.fileno(), position, os.SEEK_DATA)
            except OSError:
                break
            position -= position % CHUNK
            chunk = os.pread(file.fileno(), CHUNK, position)
            if not chunk:
                break
            if chunk.count(0) != len(chunk):
                check = zlib.crc32(position.to_bytes(8, "big"), check)
                check = zlib.crc32(chunk, check)
            position += CHUNK
    return check


def xattrs(path):
    names = sorted(os.listxattr(path, follow_symlinks=False))
    return {name: os.getxattr(path, name, follow_symlinks=False).hex() for name in names}


def describe(path, name, first):
    status = os.lstat(path)
    mode = status.st_mode
    entry = {
        "path": text(name),
        "mode": oct(mode),
        "uid": status.st_uid,
        "gid": status.st_gid,
        "mtime": status.st_mtime_ns,
        "xattrs": xattrs(path),
    }
    if not stat.S_ISDIR(mode):
        entry["links"] = status.st_nlink
        entry["same_as"] = first.setdefault((status.st_dev, status.st_ino), entry["path"])
    if stat.S_ISREG(mode):
        entry["size"] = status.st_size
        entry["content"] = content(path, status.st_size)
    if stat.S_ISLNK(mode):
        entry["target"] = text(os.readlink(path))
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        entry["device"] = [os.major(status.st_rdev), os.minor(status.st_rdev)]
    return entry


def walk(root):
    first = {}
    device = os.lstat(root).st_dev
    print(json(describe(root, b"/", first)))

    def below(folder, name):
        for child in sorted(os.listdir(folder)):
            path = os.path.join(folder, child)
            child_name = name + b"/" + child
            print(json(describe(path, child_name, first)))
            status = os.lstat(path)
            if stat.S_ISDIR(status.st_mode) and status.st_dev == device:
                below(path, child_name)

    below(os.fsencode(root), b"")


walk(sys.argv[1])
