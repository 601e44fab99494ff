"""The configuration that lies next to the versions: batching, monitoring, a compose file."""

import pathlib
import string

from lsrs_tf.files import written_whole

# Rows of certify_at share the passes of the head, and rows of certify_margin go in groups of four:
# merging their requests saves time. For other rows that are sampled it saves little, and many rows
# in one batch share one deadline.
# A request of more rows than the first number is refused by the server.
_BATCHING = """\
max_batch_size { value: 256 }
enable_large_batch_splitting { value: true }
max_execution_batch_size { value: 8 }
batch_timeout_micros { value: 1000 }
num_batch_threads { value: 4 }
max_enqueued_batches { value: 100 }
"""

_MONITORING = """\
prometheus_config {
  enable: true
  path: "/monitoring/prometheus/metrics"
}
"""

_COMPOSE = string.Template(
    """\
# docker compose up; versions that are exported later are served without a restart.
services:
  serving:
    # Name a version in production, so that it changes when you want it to.
    image: tensorflow/serving:$${TENSORFLOW_SERVING_TAG:-latest}
    restart: unless-stopped
    environment:
      MODEL_NAME: $name
    volumes:
      - .:/models/$name:ro
    command:
      - --enable_batching=true
      - --batching_parameters_file=/models/$name/batching_parameters.txt
      - --monitoring_config_file=/models/$name/monitoring.config
      # More than a request may take; see "Operate a server" in docs/how-to/serve.md.
      - --rest_api_timeout_in_ms=600000
$flags    ports:
      - "8500:8500"  # gRPC
      - "8501:8501"  # REST, and /monitoring/prometheus/metrics
    healthcheck:
      # The image has bash, but no curl.
      test:
        - CMD-SHELL
        - >-
          bash -c 'exec 3<>/dev/tcp/localhost/8501 &&
          printf "GET /v1/models/$name HTTP/1.0\\r\\n\\r\\n" >&3 && grep -q AVAILABLE <&3'
      interval: 10s
      start_period: 120s
"""
)

_XLA_FLAGS = """\
      # On a GPU: --xla_gpu_compilation_enabled=true
      - --xla_cpu_compilation_enabled=true
"""


def write_serving_files(directory: pathlib.Path, name: str, xla: bool) -> None:
    """Writes what a server needs next to the versions, without touching files that are there.

    Args:
        directory: folder of all versions.
        name: str, the model's name on a server.
        xla: bool, whether the versions are compiled by XLA.
    """
    contents = {
        "batching_parameters.txt": _BATCHING,
        "monitoring.config": _MONITORING,
        "compose.yaml": _COMPOSE.substitute(name=name, flags=_XLA_FLAGS if xla else ""),
    }
    for file, text in contents.items():
        if not (directory / file).exists():
            with written_whole(directory / file) as path:
                path.write_text(text)
