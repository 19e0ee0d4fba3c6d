"""Runs first in the one-file binary: the service ends with the process that unpacked it.

That one forwards every signal but SIGKILL, which would leave a service that nobody knows of.
"""

import ctypes
import signal
import sys

PR_SET_PDEATHSIG = 1

if sys.platform == "linux":
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
