"""Exports certified models as SavedModels for TensorFlow Serving."""

import os

# Set before TensorFlow is imported: it silences some of its start-up messages.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
