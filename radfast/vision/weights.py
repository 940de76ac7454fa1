"""Weights files: read without unpickling code, checked key by key."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from radfast.errors import UsageError

_NAMED = 3  # keys an error message names


def load_trunk(net: nn.Module, path: Path) -> None:
    """Load the trunk of `net` from a file with torchvision's keys.

    The file's classification layer (the last ``classifier.N``) and radfast's own ``heads.*`` are left out;
    every other key must be there, have the right shape and be finite.

    Raises
    ------
    UsageError
        If the file cannot be read, or a key is missing, unexpected, of another shape or not finite.
    """
    found = {key: value for key, value in read_tensors(path).items() if not key.startswith("heads.")}
    wanted = {key: value for key, value in net.state_dict().items() if not key.startswith("heads.")}
    last = _find_last_layer(found, wanted)
    unexpected = [key for key in found if key not in wanted and not (last and key.startswith(last))]
    check_tensors(path, {key: value for key, value in found.items() if key in wanted}, wanted, unexpected)
    net.load_state_dict({key: found[key].float() for key in wanted}, strict=False)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the state dict of a .safetensors or .pth file; nothing is unpickled but tensors."""
    if not path.is_file():
        raise UsageError(f"[load weights] {path} does not exist")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise UsageError(
            f"[load weights] {path} is no readable weights file (.safetensors or .pth)"
        ) from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UsageError(f"[load weights] {path} must hold a state dict: names and tensors")
    return state


def _find_last_layer(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> str | None:
    """Return the prefix of the file's classification layer, the one ``classifier.N`` above ours."""
    ours = [int(key.split(".")[1]) for key in wanted if key.startswith("classifier.")]
    theirs = [
        int(key.split(".")[1])
        for key in found
        if key.startswith("classifier.") and key.split(".")[1].isdigit()
    ]
    if ours and theirs and max(theirs) > max(ours):
        return f"classifier.{max(theirs)}."
    return None


def check_tensors(
    path: Path, found: dict[str, Tensor], wanted: dict[str, Tensor], unexpected: list[str]
) -> None:
    """Check that `found` has each key of `wanted`, of its shape and finite, and no key in excess."""
    missing = [key for key in wanted if key not in found]
    for rule, keys in (("lacks", missing), ("has unexpected", unexpected)):
        if keys:
            more = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
            raise UsageError(f"[load weights] {path.name} {rule} {', '.join(keys[:_NAMED])}{more}")
    for key, value in wanted.items():
        if found[key].shape != value.shape:
            raise UsageError(
                f"[load weights] {path.name}: {key} has shape {tuple(found[key].shape)}, "
                f"the network needs {tuple(value.shape)}"
            )
        if not torch.isfinite(found[key]).all():
            raise UsageError(f"[load weights] {path.name}: {key} holds NaN or infinity")
