"""A trained network and its file: weights in safetensors with what the outputs mean, ONNX beside them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from radfast.errors import UsageError
from radfast.kernels.cnn import export_onnx
from radfast.store import hash_file, write_atomically
from radfast.vision.networks import Network, build
from radfast.vision.weights import check_tensors, read_tensors

_FORMAT = 1
_DESCRIBED = (
    "network", "width", "heads", "classes", "in_channels", "picture_size", "crop", "vector_loss", "about",
    "history",
)  # fmt: skip


@dataclass(frozen=True)
class TrainedNetwork:
    """A network with what its outputs mean.

    Attributes
    ----------
    net : Network
        In evaluation mode.
    network : str
        Its name, "module" for one of the user's own.
    width : float
        Share of the channels.
    classes : dict of str to list of str
        Class names per class head; the vector head has none.
    picture_size, crop : int
        Side the pictures are resized to, and of the centre crop that is labeled, pixels.
    vector_loss : str
        "cosine": the vector head gives the vector; "sigmoid": its sigmoid is (vector + 1) / 2.
    about : dict of str to str
        Further facts to keep with the weights, such as the intensity window of the pictures.
    history : list of dict
        One record per epoch of the training.
    model_hash : str
        SHA-256 of the weights file, empty before it is written.
    """

    net: Network
    network: str
    width: float
    classes: dict[str, list[str]]
    picture_size: int
    crop: int
    vector_loss: str = "cosine"
    about: dict[str, str] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    model_hash: str = ""


def save_network(path: Path, trained: TrainedNetwork, *, onnx: bool = True) -> TrainedNetwork:
    """Write weights as safetensors, with all that `load_network` needs, and an ONNX file beside them.

    Parameters
    ----------
    path : path
        Ends in ``.safetensors``; the ONNX file has the same stem.
    trained : TrainedNetwork
    onnx : bool
        Write the ONNX file, too.

    Returns
    -------
    TrainedNetwork
        The same with `model_hash`.
    """
    if path.suffix != ".safetensors":
        raise UsageError(f"[save_network] path must end in .safetensors, is {path.name}")
    net = trained.net
    about = {
        "format": _FORMAT,
        "network": trained.network,
        "width": trained.width,
        "heads": {name: head.out_features for name, head in net.heads.items()},
        "classes": trained.classes,
        "in_channels": net.image_shape[0],
        "picture_size": trained.picture_size,
        "crop": trained.crop,
        "vector_loss": trained.vector_loss,
        "about": trained.about,
        "history": trained.history,
    }
    tensors = {key: value.detach().cpu().contiguous() for key, value in net.state_dict().items()}
    with write_atomically(path) as part:
        # One key only: safetensors writes several in random order, and the file's hash names the model.
        save_file(tensors, part, {"radfast": json.dumps(about, sort_keys=True, ensure_ascii=False)})
    if onnx:
        with write_atomically(path.with_suffix(".onnx")) as part:
            part.write_bytes(export_onnx(net))
    return replace(trained, model_hash=hash_file(path))


def _read_description(path: Path, text: str) -> dict[str, Any]:
    """Return what the file says of its network, with all its parts there and fitting each other."""
    try:
        about = json.loads(text)
    except ValueError as error:
        raise UsageError(f"[load_network] the description in {path} is no JSON") from error
    found = about.get("format") if isinstance(about, dict) else None
    if found != _FORMAT:
        raise UsageError(f"[load_network] {path} has format {found}, this radfast reads {_FORMAT}")
    missing = [name for name in _DESCRIBED if name not in about]
    if missing:
        raise UsageError(f"[load_network] the description in {path} lacks {', '.join(missing)}")
    for head, names in about["classes"].items():
        width = about["heads"].get(head)
        if len(names) != width:
            raise UsageError(
                f"[load_network] {path} names {len(names)} classes for head '{head}' of width {width}"
            )
    return dict(about)


def load_network(path: Path, module: nn.Module | None = None) -> TrainedNetwork:
    """Read a file written by `save_network`.

    Parameters
    ----------
    path : path
    module : nn.Module, optional
        Where the network was a module of the user's own: an instance of it.

    Raises
    ------
    UsageError
        If the file is missing, no safetensors file, not radfast's, or does not fit: a wrong key, a wrong
        shape, weights that are no numbers, or a list of classes as long as no head.
    """
    tensors = read_tensors(path)
    with safe_open(path, "pt") as file:
        text = (file.metadata() or {}).get("radfast")
    if text is None:
        raise UsageError(
            f"[load_network] {path} holds weights but no description: it is not a radfast network"
        )
    about = _read_description(path, text)
    if about["network"] == "module" and module is None:
        raise UsageError(f"[load_network] {path} holds a module of your own: pass it as module=")
    kind = about["network"] if module is None else module
    net = build(kind, about["heads"], about["width"], None, about["in_channels"], size=about["crop"])
    wanted = net.state_dict()
    check_tensors(path, tensors, wanted, [key for key in tensors if key not in wanted])
    net.load_state_dict(tensors)
    return TrainedNetwork(
        net.eval(),
        about["network"],
        about["width"],
        about["classes"],
        about["picture_size"],
        about["crop"],
        about["vector_loss"],
        about["about"],
        about["history"],
        hash_file(path),
    )
