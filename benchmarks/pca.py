"""Peak memory and time of a PCA plane at 10 and at 100 checkpoints, beside a PCA that holds all of them.

    python benchmarks/pca.py [--millions 8] [--checkpoints 10 100]

Checkpoints of a random walk with drift are written to a temporary folder; each method runs in a process of its own.
`held` stacks all checkpoints in memory and calls scikit-learn's PCA (full SVD).
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def peak_mib() -> float:
    """Peak resident memory of this process, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def one(method: str, folder: Path, n: int, side: int) -> None:
    """One method in this process; prints seconds and MiB above what the libraries and the model take."""
    import numpy as np
    import scipy.linalg  # noqa: F401 - loaded before the baseline is taken
    from sklearn.decomposition import PCA
    from torch import nn

    from compute import landscape
    from compute.checkpoints import TensorFile

    model = nn.Linear(side, side, bias=False)
    files = sorted(folder.glob("step-*.safetensors"))[: n + 1]
    base, begun = peak_mib(), time.perf_counter()
    if method == "streaming":
        landscape.pca_plane(model, files)
    else:
        last = TensorFile(files[-1]).tensor("weight").numpy().ravel()
        held = np.stack([TensorFile(f).tensor("weight").numpy().ravel() - last for f in files[:-1]])
        PCA(2, svd_solver="full").fit(held)
    print(time.perf_counter() - begun, peak_mib() - base)


def main() -> None:
    """Write the checkpoints, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=float, default=8.0, help="parameters")
    parser.add_argument("--checkpoints", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--one", nargs=4, metavar=("METHOD", "FOLDER", "N", "SIDE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        one(args.one[0], Path(args.one[1]), int(args.one[2]), int(args.one[3]))
        return
    import torch

    from compute.checkpoints import write_tensors

    side = round((args.millions * 1e6) ** 0.5)
    vector = side * side * 4 / 2**20
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generator = torch.Generator().manual_seed(0)
        weight, drift = (torch.randn(side, side, generator=generator) for _ in range(2))
        for k in range(max(args.checkpoints) + 1):
            weight += 0.02 * drift + 0.01 * torch.randn(side, side, generator=generator)
            write_tensors(folder / f"step-{k:08d}.safetensors", {"weight": weight}, {"step": k, "epoch": float(k)})
        print(
            f"{side * side / 1e6:.1f} million parameters: a float32 vector is {vector:.0f} MiB, three {3 * vector:.0f}"
        )
        print(f"{'checkpoints':>11} {'method':10} {'seconds':>8} {'MiB above the model':>20}")
        for n in args.checkpoints:
            for method in ("streaming", "held"):
                out = subprocess.run(
                    [sys.executable, __file__, "--one", method, str(folder), str(n), str(side)],
                    capture_output=True,
                    text=True,
                    check=True,
                ).stdout.split()
                print(f"{n:11} {method:10} {float(out[0]):8.2f} {float(out[1]):20.0f}", flush=True)


if __name__ == "__main__":
    main()
