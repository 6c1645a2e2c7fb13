"""picsift as a process: the command, and the processes that decode for another one."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn

from . import _picsift

# Loads the native half alone, without the package, without site-packages and without an environment.
_DECODE = (
    "import sys, importlib.util as u; "
    "s = u.spec_from_file_location('_picsift', sys.argv[1]); "
    "m = u.module_from_spec(s); s.loader.exec_module(m); "
    "sys.exit(0 if m.serve_decoding() else 1)"
)


def decoder() -> tuple[str, list[str]]:
    """The program, and its arguments, that decodes for this process."""
    if not sys.executable:
        raise OSError("this interpreter does not know its own program")
    return sys.executable, ["-I", "-S", "-c", _DECODE, _picsift.__file__]


def main() -> NoReturn:
    """The command ``picsift`` with the words of the command line."""
    # Ctrl-C is the command's to hear, and what a closed pipe is too.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(_picsift.run_command(["picsift", *sys.argv[1:]]))
