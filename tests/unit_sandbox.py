"""Runs a command under the limits of a systemd unit that any kernel can set without systemd.

python tests/unit_sandbox.py deploy/wbot.service COMMAND...

System calls, address families, memory that is written and executed, capabilities, new privileges,
open files, core dumps and the umask are as in the unit; mounts and namespaces are not.
"""

import ctypes
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

LIBSECCOMP = "libseccomp.so.2"
REFUSE, ALLOW = 0x00050000 | 1, 0x7FFF0000  # SCMP_ACT_ERRNO(EPERM), SCMP_ACT_ALLOW
EQUAL, MASKED_EQUAL = 4, 7
WRITE, EXECUTE, SHM_EXECUTE = 2, 4, 0o100000
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10}
CAPABILITIES = range(64)
DROP_CAPABILITY, SET_NO_NEW_PRIVILEGES = 24, 38


class Condition(ctypes.Structure):
    """libseccomp's scmp_arg_cmp."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


def settings_of(unit: Path) -> dict[str, list[str]]:
    """Every value of each setting of a unit."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text("utf-8").splitlines():
        name, mark, value = line.partition("=")
        if mark and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def calls_of(words: list[str]) -> set[str]:
    """The system calls of these names and groups."""
    found = set()
    for word in words:
        found |= set(_members(word)) if word.startswith("@") else {word}
    return found


def _members(group: str) -> Iterator[str]:
    listed = subprocess.run(
        ["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True
    )
    for line in listed.stdout.splitlines():
        word = line.strip()
        if word.startswith("@") and word != group:
            yield from _members(word)
        elif word and not word.startswith(("@", "#")):
            yield word


def allowed_calls(settings: dict[str, list[str]]) -> set[str]:
    allowed: set[str] = set()
    for value in settings["SystemCallFilter"]:
        if value.startswith("~"):
            allowed -= calls_of(value[1:].split())
        else:
            allowed |= calls_of(value.split())
    # The unit's user is not root, as whom wbot gives the files it makes to their folder's owner.
    return allowed | (calls_of(["@chown"]) if os.geteuid() == 0 else set())


def conditions_of(call: str, settings: dict[str, list[str]]) -> list[Condition | None]:
    """What an allowed call's arguments have to be: one of these, or anything."""
    families = settings["RestrictAddressFamilies"][0].split()
    known: dict[str, list[Condition | None]] = {
        "socket": [Condition(0, EQUAL, FAMILIES[family], 0) for family in families],
        "mmap": [
            Condition(2, MASKED_EQUAL, EXECUTE, 0),
            Condition(2, MASKED_EQUAL, EXECUTE | WRITE, EXECUTE),
        ],
        "mprotect": [Condition(2, MASKED_EQUAL, EXECUTE, 0)],
        "pkey_mprotect": [Condition(2, MASKED_EQUAL, EXECUTE, 0)],
        "shmat": [Condition(2, MASKED_EQUAL, SHM_EXECUTE, 0)],
    }
    return known.get(call, [None])


def filter_calls(settings: dict[str, list[str]]) -> None:
    library = ctypes.CDLL(LIBSECCOMP)
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(REFUSE))
    for call in sorted(allowed_calls(settings)):
        number = library.seccomp_syscall_resolve_name(call.encode())
        for one in conditions_of(call, settings) if number >= 0 else []:
            count, array = (0, None) if one is None else (1, ctypes.byref(one))
            assert library.seccomp_rule_add_array(context, ALLOW, number, count, array) == 0, call
    assert library.seccomp_load(context) == 0


def main(unit: Path, command: list[str]) -> None:
    settings = settings_of(unit)
    os.umask(int(settings["UMask"][0], 8))
    files = int(settings["LimitNOFILE"][0])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = files if hard == resource.RLIM_INFINITY else min(files, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    process = ctypes.CDLL(None)
    if os.geteuid() == 0:
        for capability in CAPABILITIES:
            process.prctl(DROP_CAPABILITY, capability, 0, 0, 0)
    assert process.prctl(SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
    filter_calls(settings)
    os.execvp(command[0], command)  # noqa: S606  that is its purpose


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
