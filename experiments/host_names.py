"""Whether the hosts of TF_CONFIG are known, and whether this machine is one of them."""

import contextlib
import socket
import time

_PAUSE = 0.2


def wait_until_known(addresses, seconds):
    """Returns as soon as the names of all hosts are known on this machine, which is usual at once.

    Args:
        addresses: list of str, `host:port`.
        seconds: float, how long to wait for names that are not.

    Raises:
        ValueError: if a name is still unknown then.
    """
    deadline, told = time.monotonic() + seconds, False
    while unknown := [reason for reason in map(unknown_reason, addresses) if reason]:
        if time.monotonic() > deadline:
            raise ValueError(
                f"{' '.join(unknown)} Correct the name in TF_CONFIG on every worker, or give the "
                "IP address."
            )
        if not told:
            print(f"{' '.join(unknown)} Waiting up to {seconds:g} seconds for it.", flush=True)
            told = True
        time.sleep(_PAUSE)


def unknown_reason(address):
    """Returns a sentence that says why the host of an address is not found, or an empty text."""
    try:
        _ends_of(address)
    except (OSError, UnicodeError) as error:
        return (
            f"The host of {address} in TF_CONFIG is not known to {socket.gethostname()}: {error}."
        )
    return ""


def elsewhere_reason(index, address):
    """Returns a sentence that says if this machine has not the address it is to have, or nothing.

    That may be right: a worker can be behind an address that is translated.

    Args:
        index: int, the worker that this process is.
        address: str, `host:port`, where TF_CONFIG says it is.
    """
    try:
        ends = _ends_of(address)
    except (OSError, UnicodeError):
        return ""
    for family, kind, _, _, end in ends:
        # Only an address of this machine can be bound; any port will do.
        with contextlib.suppress(OSError), socket.socket(family, kind) as own:
            own.bind((end[0], 0, *end[2:]))
            return ""
    return f"Worker {index} is on {socket.gethostname()}, and {address} is not an address of it."


def _ends_of(address):
    host, _, port = address.rpartition(":")
    return socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
