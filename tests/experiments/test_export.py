import subprocess
import sys


def test_help_explains_the_signatures():
    ended = subprocess.run(
        [sys.executable, "-m", "experiments.export", "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    for name in ("certify_with", "certify_at", "radius", "--run_dir", "--n0", "--max_n"):
        assert name in ended.stdout
