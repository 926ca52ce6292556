"""What all tests share. One thread a process: the suite runs on two processes, and two OpenMP pools on two cores slow
each other down tenfold.

No triton: its library and Mesa's software renderer bring an LLVM each, and a process that has drawn a picture breaks
with a segmentation fault when torch imports it. thalweg itself never has both in one process.
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.modules.setdefault("triton", None)  # type: ignore[arg-type]
