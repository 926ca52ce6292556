"""Training, planes, surfaces and analyses; the daemon and its workers. Start at `landscape.py`."""

NUMERICS = 1
"""Grows when a change alters the contents of rows, so that results of both sides are told apart."""
