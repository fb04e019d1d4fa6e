# Runs a command on a pseudo-terminal as a person would sit at one, and prints what was seen as JSON.
# Arguments: the command. The guest prints its terminal's size at its start and at each change, and ends
# at Ctrl-C; every wait has the one deadline.
import fcntl, json, os, pty, select, struct, sys, termios, time

DEADLINE = time.monotonic() + 150
FIRST, SECOND = (31, 97), (40, 120)


def resize(descriptor, size):
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))


def begin(words, terminal, others):
    child = os.fork()
    if child == 0:
        os.setsid()
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
        for number in range(3):
            os.dup2(terminal, number)
        for descriptor in (terminal, *others):
            os.close(descriptor)
        os.execvp(words[0], words)
    return child


def until(controller, seen, wanted):
    while wanted not in seen:
        left = DEADLINE - time.monotonic()
        if left <= 0 or not select.select([controller], [], [], left)[0]:
            sys.exit(f"no {wanted!r} within the deadline, only {seen!r}")
        seen += os.read(controller, 65536)
    return seen


controller, terminal = pty.openpty()
resize(terminal, FIRST)
before = termios.tcgetattr(terminal)
child = begin(sys.argv[1:], terminal, [controller])
seen = until(controller, b"", b"%d %d" % FIRST)
during = termios.tcgetattr(terminal)
resize(controller, SECOND)
seen = until(controller, seen, b"%d %d" % SECOND)
os.write(controller, b"\x03")
seen = until(controller, seen, b"interrupted in the guest")
status = os.waitpid(child, 0)[1]
print(json.dumps({
    "code": os.waitstatus_to_exitcode(status),
    "raw": not during[3] & (termios.ICANON | termios.ECHO | termios.ISIG),
    "restored": termios.tcgetattr(terminal) == before,
}))
