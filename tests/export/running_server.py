"""Servers for tests: TensorFlow Serving where it is named, or a stand-in."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time

import requests

# Where a real server is to be tested: its binary.
BINARY = os.environ.get("LSRS_TF_MODEL_SERVER")


def free_port():
    """Returns the number of a port that nobody listens to."""
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


@contextlib.contextmanager
def running_server(version):
    """Yields the ports of a server of a version, dict of 'grpc' and 'rest'.

    The name of the model is that of the folder of its versions.
    """
    if BINARY:
        ports = {"grpc": free_port(), "rest": free_port()}
        name = version.parent.name
        command = [
            BINARY,
            f"--port={ports['grpc']}",
            f"--rest_api_port={ports['rest']}",
            f"--model_name={name}",
            f"--model_base_path={version.parent}",
        ]
        server = subprocess.Popen(command)
        deadline = time.monotonic() + 60
        while True:
            try:
                status = requests.get(f"http://localhost:{ports['rest']}/v1/models/{name}")
                if "AVAILABLE" in status.text:
                    break
            except requests.ConnectionError:
                pass
            assert time.monotonic() < deadline
            time.sleep(0.2)
    else:
        command = [sys.executable, "-m", "tests.export.stand_in_server", str(version)]
        server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        ports = json.loads(server.stdout.readline())
    try:
        yield ports
    finally:
        server.kill()
        server.wait()
