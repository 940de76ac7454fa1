"""Training of one network with all its heads, by the paper's recipe or a modern one.

The chain document -> second -> sentence of the paper (section 4.1) trains one network per level, each from
the one before. Here a phase adds the next level's head and keeps the earlier ones in the loss, so that one
network answers for all levels in the end; the last phase adds the vector and disease heads.

Reproducible to the bit at a fixed number of threads; another number of threads adds floats in another order.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from radfast.config import VisionConfig
from radfast.device import count_threads
from radfast.errors import NothingFoundError, UsageError
from radfast.types import Progress, no_progress
from radfast.vision.labels import LabelSet
from radfast.vision.loader import check_pixels
from radfast.vision.networks import build
from radfast.vision.trained import TrainedNetwork
from radfast.vision.trainer import Trainer


def train(
    pixels: npt.NDArray[np.uint8],
    labels: LabelSet,
    config: VisionConfig,
    *,
    seed: int = 0,
    threads: int = 0,
    backend: str = "auto",
    checkpoint: Path | None = None,
    progress: Progress = no_progress,
    record: Callable[[dict[str, Any]], None] | None = None,
    module: nn.Module | None = None,
) -> TrainedNetwork:
    """Train a network on a label set.

    Parameters
    ----------
    pixels : uint8 (N, H, W)
        Pictures of the archive, usually memory-mapped.
    labels : LabelSet
    config : VisionConfig
        With ``freeze_trunk`` the features of all pictures are computed once, by the compiled trunk, and the
        heads trained on them, all at once and without augmentation.
    seed : int
        Of the first weights, the order of the pictures, crops and dropout.
    threads : int
        0 takes all cores.
    backend : str
        "cpu", "cuda", or "auto": cuda where torch has it.
    checkpoint : path, optional
        File written between epochs, ``config.checkpoint_seconds`` apart; a run of the same settings goes on
        from it to the same bits (CPU). Beside it stand pictures of the network's size and features of a
        frozen trunk, as ``<checkpoint>.*.npy``: they are computed again where they are missing.
        One of other settings, or a broken one, is not used and replaced.
    progress : callable
        Called with epochs done and in all.
    record : callable, optional
        Called with each epoch's record: phase, heads, epoch, losses and validation top-1.
    module : nn.Module, optional
        A network of the user's own in place of ``config.network``: see `build`.

    Returns
    -------
    TrainedNetwork
        With the weights of the best validation loss of the last phase.

    Raises
    ------
    UsageError
        If pictures, crop, rows or weights do not fit, or the loss leaves the finite numbers.
    NothingFoundError
        If the label set has no class or no image to train on.
    """
    check_pixels(pixels, config.picture_size, config.crop, "train")
    heads = labels.heads()
    if not heads:
        raise NothingFoundError("no class has enough images: nothing to train (see vision.min_images)")
    if len(labels) and labels.pixel_rows.max() >= len(pixels):
        raise UsageError(f"[train] pixel rows must be below {len(pixels)}, one is {labels.pixel_rows.max()}")
    device = _choose_device(backend)
    with _reproducible(seed, count_threads(threads)):
        net = build(
            module or config.network, heads, config.width, config.weights, size=config.crop, seed=seed
        ).to(device)
        trainer = Trainer(net, pixels, labels, config, seed, device, count_threads(threads), checkpoint)
        trainer.run(progress, record)
    name = config.network if module is None else "module"
    classes = {head: labels.classes[head] for head in heads if head != "vector"}
    return TrainedNetwork(
        net.cpu().eval().requires_grad_(False),
        name,
        config.width,
        classes,
        config.picture_size,
        config.crop,
        config.vector_loss,
        history=trainer.history,
    )


def _choose_device(backend: str) -> torch.device:
    if backend not in ("auto", "cpu", "cuda"):
        raise UsageError(f"[train] backend must be auto, cpu or cuda, is '{backend}'")
    if backend == "cuda" and not torch.cuda.is_available():
        raise UsageError("[train] backend 'cuda' cannot run: this torch finds no CUDA device")
    return torch.device("cuda" if backend != "cpu" and torch.cuda.is_available() else "cpu")


@contextmanager
def _reproducible(seed: int, threads: int) -> Iterator[None]:
    """Fix torch's threads, seed and algorithms inside the block; leave them as they were after it."""
    settings: Any = torch.utils.deterministic  # its properties are set up at run time
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    filled = settings.fill_uninitialized_memory
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS may not be deterministic
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # Fresh memory is not filled: no operator here reads what it has not written, and the filling takes time.
    settings.fill_uninitialized_memory = False
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
        settings.fill_uninitialized_memory = filled
