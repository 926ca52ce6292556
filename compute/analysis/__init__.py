"""The analyses of a surface. A new one is a file here and a line in ANALYSES.

Importing this loads neither torch nor gudhi: they are imported where an analysis runs.
"""

from __future__ import annotations

from . import critical
from .entry import Analysis, Findings  # noqa: F401 - what callers need

ANALYSES = {
    "critical": Analysis("Minima, saddles and maxima with their persistence", critical.Options, critical.make),
}
