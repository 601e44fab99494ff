"""Certification files: columns, reading, checking, resumable writing, merging, figures."""
