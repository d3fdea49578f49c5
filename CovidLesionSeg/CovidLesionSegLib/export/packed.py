"""The voxels of a result, each compressed once for all files of a run that hold them."""

from __future__ import annotations

from types import TracebackType

from CovidLesionSegLib.engine.deflate import Deflated, worker_pool
from CovidLesionSegLib.engine.result import SegmentationResult
from CovidLesionSegLib.engine.writers import pack_map

from .seg_nrrd import pack_segmentation


class PackedResult:
    """Compresses in threads from its making on; a context manager that leaves none behind.

    Args:
        result: The result.
    """

    def __init__(self, result: SegmentationResult) -> None:
        self._pool = worker_pool()
        self._segmentation = pack_segmentation(result, self._pool)
        maps = {
            "infection": result.prediction.infection,
            "boundary": result.prediction.boundary,
            "agreement": result.prediction.agreement,
        }
        self._maps = {
            name: pack_map(values, result.ct, self._pool)
            for name, values in maps.items()
            if values is not None
        }
        self._ct = pack_map(result.ct.hu, result.ct, self._pool)

    def __enter__(self) -> PackedResult:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def segmentation(self) -> Deflated:
        """Return the label maps as `pack_segmentation` gives them."""
        return self._segmentation.result()

    def map(self, name: str) -> Deflated:
        """Return a map: ``"infection"``, ``"boundary"`` or ``"agreement"``.

        KeyError for one that the result has not.
        """
        return self._maps[name].result()

    def ct(self) -> Deflated:
        """Return the CT."""
        return self._ct.result()
