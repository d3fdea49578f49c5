"""Damaged files end in a CT or in a plain refusal: no other exception, hang or allocation.

``python -m Testing.fuzz_readers --mutations 2000 --truncations 200`` runs that many of every
kind of file and prints a table of outcomes; the tests run a few of each.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import SimpleITK as sitk  # noqa: N813

from CovidLesionSegLib.engine.pipeline import SegmentOptions, open_networks, segment
from CovidLesionSegLib.engine.readers import read_ct
from CovidLesionSegLib.errors import CovidLesionSegError, InputError
from Testing.support.dicom_series import Series
from Testing.support.mutations import mutated
from Testing.support.synthetic_ct import ORIGIN_LPS_MM, SPACING_MM_XYZ, chest_hu

SEED = 20240229
SECONDS_PER_FILE = 5.0
MEMORY_BYTES = 1 << 30
READ = "read"
"""Outcome of a file that gives a CT in spite of its damage."""

KINDS = ("nii", "nii.gz", "nrrd", "nrrd gzip", "mha", "mha zlib", "dicom")
_HEADER_ENDS = {".nrrd": b"\n\n", ".mha": b"LOCAL\n"}
_NIFTI_HEADER_BYTES = 352
_SLICES = 8

Listener = Callable[[Path], None]


def _nothing(_path: Path) -> None:
    pass


@contextmanager
def limited_memory() -> Iterator[None]:
    """Let no allocation of more than 1 GiB succeed, where the system can do that."""
    if not sys.platform.startswith("linux"):
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY_BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def outcome(path: Path) -> str:
    """Read a damaged file through all guards and return the refusal's code, or `READ`.

    Anything but a CT or a refusal that helps its user, soon and in little memory, raises.
    """
    started = time.process_time()
    refusal: InputError | None = None
    try:
        read_ct(path)
    except InputError as error:
        refusal = error
    seconds = time.process_time() - started
    assert seconds < SECONDS_PER_FILE, f"{path.name} took {seconds:.1f} s"
    if refusal is None:
        return READ
    assert refusal.message
    assert refusal.hint
    assert "enough memory" not in refusal.message, f"{path.name} asked for too much memory"
    return refusal.code


def mutate_headers(
    kind: str, count: int, folder: Path, on_read: Listener = _nothing
) -> Counter[str]:
    """Damage headers of one kind of file and count the outcomes.

    Args:
        kind: One of `KINDS`.
        count: How many.
        folder: Where to; empty.
        on_read: Called with every file that gives a CT all the same.
    """
    rng = random.Random(f"{SEED}{kind}")
    if kind == "dicom":
        return _mutate_series(count, folder, rng, on_read)
    path, raw, header_bytes = _good_file(kind, folder)
    codes: Counter[str] = Counter()
    for index in range(count):
        damaged = mutated(raw, header_bytes, rng)
        if kind == "nii.gz":
            damaged = gzip.compress(damaged, 1)
            if index % 5 == 0:  # the compression may be damaged as well
                damaged = mutated(damaged, len(damaged), rng)
        path.write_bytes(damaged)
        code = outcome(path)
        codes[code] += 1
        if code == READ:
            on_read(path)
    return codes


def truncate(kind: str, count: int, folder: Path) -> Counter[str]:
    """Cut files of one kind anywhere and count the outcomes.

    Of a DICOM series it is one slice that is cut; what is left is a series with a gap, or a
    shorter one with a flag.
    """
    rng = random.Random(f"{SEED}{kind} cut")
    codes: Counter[str] = Counter()
    if kind == "dicom":
        files = _good_series(folder)
        for _ in range(count):
            victim = rng.choice(files)
            with _replaced(victim, lambda good: good[: rng.randrange(1, len(good))]):
                codes[outcome(rng.choice((folder, victim)))] += 1
        return codes
    path, raw, _ = _good_file(kind, folder)
    whole = gzip.compress(raw, 1) if kind == "nii.gz" else raw
    for _ in range(count):
        path.write_bytes(whole[: rng.randrange(1, len(whole))])
        codes[outcome(path)] += 1
    return codes


def _good_file(kind: str, folder: Path) -> tuple[Path, bytes, int]:
    """Return path, content (uncompressed for NIfTI) and how far the header reaches."""
    name, _, compression = kind.partition(" ")
    path = folder / f"ct.{name}"
    image = sitk.GetImageFromArray(chest_hu())
    image.SetSpacing(SPACING_MM_XYZ)
    image.SetOrigin(ORIGIN_LPS_MM)
    sitk.WriteImage(image, str(path), useCompression=bool(compression))
    raw = path.read_bytes()
    end = _HEADER_ENDS.get(path.suffix)
    if end is None:
        return path, gzip.decompress(raw) if kind == "nii.gz" else raw, _NIFTI_HEADER_BYTES
    return path, raw, raw.index(end) + len(end)


def _good_series(folder: Path) -> list[Path]:
    return sorted(Series(hu=chest_hu()[:_SLICES]).write(folder).iterdir())


@contextmanager
def _replaced(path: Path, change: Callable[[bytes], bytes]) -> Iterator[None]:
    good = path.read_bytes()
    path.write_bytes(change(good))
    yield
    path.write_bytes(good)


def _mutate_series(count: int, folder: Path, rng: random.Random, on_read: Listener) -> Counter[str]:
    files = _good_series(folder)
    header_bytes = files[0].stat().st_size - 2 * chest_hu()[0].size
    codes: Counter[str] = Counter()
    for _ in range(count):
        victim = rng.choice(files)
        with _replaced(victim, lambda good: mutated(good, header_bytes, rng)):
            source = rng.choice((folder, victim))
            code = outcome(source)
            codes[code] += 1
            if code == READ:
                on_read(source)
    return codes


class _Sample:
    """Runs the first few readable files through the whole of `segment`."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._networks = open_networks(SegmentOptions(device="cpu")) if most else None
        self.outcomes: Counter[str] = Counter()

    def __call__(self, path: Path) -> None:
        if not self._left:
            return
        self._left -= 1
        try:
            segment(path, networks=self._networks)
            self.outcomes["segmented"] += 1
        except CovidLesionSegError as error:
            self.outcomes[error.code] += 1


def main() -> int:
    """Run from the command line; a finding ends it with a traceback."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mutations", type=int, default=2000, help="per kind of file")
    parser.add_argument("--truncations", type=int, default=200, help="per kind of file")
    parser.add_argument(
        "--segment", type=int, default=0, help="readable files per kind to segment as well"
    )
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    table: dict[str, dict[str, dict[str, int]]] = {}
    for kind in KINDS:
        sample = _Sample(args.segment)
        with (
            tempfile.TemporaryDirectory() as mutations,
            tempfile.TemporaryDirectory() as cuts,
            limited_memory(),
        ):
            headers = mutate_headers(kind, args.mutations, Path(mutations), sample)
            cut = truncate(kind, args.truncations, Path(cuts))
        table[kind] = {
            "mutated": dict(headers.most_common()),
            "truncated": dict(cut.most_common()),
            "segmented": dict(sample.outcomes),
        }
        print(kind, json.dumps(table[kind]), flush=True)
    if args.json:
        args.json.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
