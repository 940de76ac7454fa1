"""Networks that learn the topics, vectors and diseases of the reports from the pictures alone."""

from radfast.vision.labels import LabelSet
from radfast.vision.networks import NETWORKS, Network, build
from radfast.vision.predict import predict
from radfast.vision.targets import build_label_set
from radfast.vision.trained import TrainedNetwork, load_network, save_network
from radfast.vision.training import train

__all__ = [
    "NETWORKS",
    "LabelSet",
    "Network",
    "TrainedNetwork",
    "build",
    "build_label_set",
    "load_network",
    "predict",
    "save_network",
    "train",
]
