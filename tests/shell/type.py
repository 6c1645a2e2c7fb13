"""Types lines into the shell on a terminal and prints what stands on it: type.py PROGRAM LINE...

A line is sent when the prompt stands there; in a line the Tab is a tab. Where TERMINAL_ANSWER says so, the terminal answers the question
for its attributes, as real ones do. Needs nothing but Python.
"""

import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time

PROMPT, GOES_ON = b"picsift> ", b"      -> "
PATIENCE = 60
QUESTION = b"\x1b[c"

answer = os.environ.pop("TERMINAL_ANSWER", "").encode()
answered = 0

program, *lines = sys.argv[1:]
pid, terminal = pty.fork()
if pid == 0:
    os.environ.setdefault("TERM", "xterm")
    os.execv(program, [program, "sql"])
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 160, 0, 0))

shown = b""


def read_until(done):
    global shown, answered
    fresh, end = b"", time.monotonic() + PATIENCE
    while not done(fresh) and time.monotonic() < end:
        if select.select([terminal], [], [], 0.05)[0]:
            try:
                more = os.read(terminal, 1 << 16)
            except OSError:
                return False
            if not more:
                return False
            fresh, shown = fresh + more, shown + more
            if answer and shown.count(QUESTION) > answered:
                answered += 1
                os.write(terminal, b"\x1b[?" + answer)
    return True


read_until(lambda fresh: PROMPT in fresh)
for line in lines:
    # What is typed before a Tab must have been read by the time it comes.
    for part in line.replace("\t", "\t\0").split("\0"):
        before = len(shown)
        os.write(terminal, part.encode())
        if part.endswith("\t"):
            read_until(lambda fresh: PROMPT in shown[before:] or GOES_ON in shown[before:])
    before = len(shown)
    os.write(terminal, b"\r")
    def is_asked(_):
        last = shown[before:].rsplit(b"\n", 1)
        return len(last) > 1 and (PROMPT in last[1] or GOES_ON in last[1])

    if not read_until(is_asked):
        break
_, status = os.waitpid(pid, 0)
sys.stdout.buffer.write(shown)
sys.exit(os.waitstatus_to_exitcode(status))
