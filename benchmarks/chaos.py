"""200 kills of the daemon and its workers, some aimed at a row, a commit, a checkpoint: what was lost, what differs.

    python benchmarks/chaos.py [kills [seed]]

Ends with status 1 where anything was. tests/chaos.py says what is killed when, and what must hold.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import chaos
from daemons import workspace


def main() -> None:
    """Print the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    with workspace() as folder:
        expected = chaos.undisturbed(folder)
    with workspace() as folder:
        run = chaos.Chaos(folder, seed, expected)
        began = time.monotonic()
        run.run(chaos.plan(count, seed))
        print(chaos.table(run, time.monotonic() - began))
    for wrong in run.wrong:
        print(wrong)
    missed = [name for name in chaos.AIMS if not run.hits()[name]]
    if missed:
        print(f"no kill in the middle of a {', a '.join(missed)}: nothing is shown about that")
    sys.exit(bool(run.wrong or missed))


if __name__ == "__main__":
    main()
