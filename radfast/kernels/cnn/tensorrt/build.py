"""An ONNX file to an engine: one profile from 1 to max_batch pictures, types as the file says."""

from __future__ import annotations

import logging
from typing import Any

from radfast.kernels.cnn.compiled import RefusedError

log = logging.getLogger("radfast.cnn")

_WORKSPACE = 4 << 30  # bytes a tactic may use; the VGGs stay far below


def build_engine(
    library: Any, model: bytes, max_batch: int, timing: bytes = b"", *, tf32: bool = False
) -> tuple[bytes, bytes]:
    """Build an engine; works without a GPU where the library does (tensorrt_rtx).

    Parameters
    ----------
    library : module
        ``tensorrt`` 10 or later, or ``tensorrt_rtx``.
    model : bytes
        ONNX with input "images", of which only the first axis is free.
    max_batch : int
        The profile's largest and best batch; 1 is its least.
    timing : bytes
        What an earlier build measured, so that it is not measured again.
    tf32 : bool
        Let float32 products round their factors to 10 bits.

    Returns
    -------
    tuple of bytes
        The engine, and what was measured.

    Raises
    ------
    RefusedError
        If the file is not understood or no engine comes out, with the library's own words.
    """
    said: list[str] = []
    logger = _make_logger(library, said)
    builder = library.Builder(logger)
    # TensorRT 10 takes types from the file when asked, 11 always.
    typed = getattr(library.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if typed is None else 1 << int(typed))
    parser = library.OnnxParser(network, logger)
    if not parser.parse(model):
        told = [str(parser.get_error(place).desc()) for place in range(parser.num_errors)] or said
        raise RefusedError(f"TensorRT does not understand the file: {_first_line(told)}")
    config = builder.create_builder_config()
    if not tf32:
        config.clear_flag(library.BuilderFlag.TF32)
    config.set_memory_pool_limit(library.MemoryPoolType.WORKSPACE, _WORKSPACE)
    config.profiling_verbosity = library.ProfilingVerbosity.DETAILED
    images = network.get_input(0)
    rest = tuple(images.shape)[1:]
    profile = builder.create_optimization_profile()
    profile.set_shape(images.name, (1, *rest), (max_batch, *rest), (max_batch, *rest))
    config.add_optimization_profile(profile)
    keeps_timing = library.__name__ != "tensorrt_rtx"  # there it is a no-op: kernels are chosen at run time
    if keeps_timing:
        cache = config.create_timing_cache(timing)
        if not config.set_timing_cache(cache, ignore_mismatch=False):  # measured elsewhere
            config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise RefusedError(f"TensorRT builds no engine: {_first_line(said)}")
    return bytes(engine), bytes(config.get_timing_cache().serialize()) if keeps_timing else b""


def _first_line(said: list[str]) -> str:
    return said[0].splitlines()[0] if said and said[0] else "it does not say why"


def _make_logger(library: Any, said: list[str]) -> Any:
    """Return a logger that keeps errors in `said` and passes all on to ours."""
    levels = {
        library.Logger.INTERNAL_ERROR: logging.ERROR,
        library.Logger.ERROR: logging.ERROR,
        library.Logger.WARNING: logging.DEBUG,  # hundreds, about what cannot be changed from here
    }

    class Logger(library.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            library.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            level = levels.get(severity)
            if level == logging.ERROR:
                said.append(message)
            if level is not None:
                log.debug("TensorRT: %s", message)

    return Logger()
