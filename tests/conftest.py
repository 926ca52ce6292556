"""What all tests share. One thread a process: the suite runs on two processes, and two OpenMP pools on two cores slow
each other down tenfold."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
