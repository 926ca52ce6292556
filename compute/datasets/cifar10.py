"""CIFAR-10 (Krizhevsky 2009, "Learning multiple layers of features from tiny images")."""

from __future__ import annotations

from .cifar import entry

ENTRY = entry(
    "cifar10",
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
    statistics="the 50,000 training images, per channel over all pixels; the figures in common use",
)
