"""Command line: train, certify and report."""

import os

# Set before TensorFlow is imported: its start-up messages would bury the program's own.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
