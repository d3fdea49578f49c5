"""Find a text in files, also where it is compressed or encoded."""

from __future__ import annotations

import base64
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path

_ENCODINGS = ("utf-8", "utf-16-le", "utf-16-be")


def leaks(paths: Iterable[Path], secrets: Iterable[str]) -> list[str]:
    """Return where the files or their names hold one of the texts, in any case.

    Looks into gzip and zlib streams wherever they begin, into ZIP archives, and into base64.
    """
    wanted = [
        (secret, secret.lower().encode(encoding)) for secret in secrets for encoding in _ENCODINGS
    ]
    found = []
    for path in paths:
        for place, content in _contents(path.name, path.read_bytes()):
            lower = content.lower()
            found += [f"{place}: {secret}" for secret, code in wanted if code in lower]
        found += [f"name of {path.name}: {s}" for s, _ in wanted if s.lower() in path.name.lower()]
    return sorted(set(found))


def _contents(place: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    yield place, content
    if content[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(BytesIO(content)) as archive:
            for name in archive.namelist():
                yield f"{place}/{name}", name.encode()
                yield from _contents(f"{place}/{name}", archive.read(name))
        return
    for match in re.finditer(rb"\x1f\x8b\x08|x[\x01\x5e\x9c\xda]", content):
        gzip = match.group().startswith(b"\x1f")
        inflater = zlib.decompressobj(31 if gzip else 15)
        try:
            inside = inflater.decompress(content[match.start() :])
        except zlib.error:
            continue
        if len(inside) > 16:
            yield f"{place} inflated at {match.start()}", inside
    for match in re.finditer(rb"base64,([A-Za-z0-9+/=]{32,})", content):
        yield f"{place} decoded at {match.start()}", base64.b64decode(match.group(1) + b"==")
