"""``covid-lesion-seg models``: what models there are, whether they are intact, new ones."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from CovidLesionSegLib.errors import CovidLesionSegError, WeightsMismatchError
from CovidLesionSegLib.weights.catalogue import RESEARCH
from CovidLesionSegLib.weights.importer import (
    ImportOptions,
    import_checkpoint,
    imported_summary,
)
from CovidLesionSegLib.weights.locations import SHARED_VARIABLE
from CovidLesionSegLib.weights.store import StoredModel, WeightsStore, default_store

from .arguments import path

_GAP = 2
"""Characters between two columns of a table."""

_EPILOG = (
    f"Models are looked for in the folders named in {SHARED_VARIABLE} (separated as in PATH; "
    "read-only is fine), among the bundled ones, and in your own store, in this order. "
    "Nothing is ever downloaded."
)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``models`` and its own subcommands."""
    parser = subparsers.add_parser(
        "models", help="list, check, import and remove models", epilog=_EPILOG
    )
    parser.set_defaults(func=run)
    actions = parser.add_subparsers(dest="models_action", metavar="ACTION", required=True)

    _add_action(actions, "list", "list all models")
    show = _add_action(actions, "show", "show the card of one model")
    show.add_argument("id", metavar="ID")
    verify = _add_action(actions, "verify", "check size and digest of weight files")
    verify.add_argument("ids", metavar="ID", nargs="*", help="all models by default")
    remove = _add_action(actions, "remove", "remove a model that you imported")
    remove.add_argument("id", metavar="ID")

    importing = _add_action(actions, "import", "add weights of yours or of a publication")
    importing.add_argument("file", metavar="FILE", type=path, help=".safetensors, .pth or .pt")
    importing.add_argument("--id", metavar="NAME", help="id in the store")
    importing.add_argument("--family", help="refuse any other network family")
    importing.add_argument(
        "--licence",
        metavar="TEXT",
        default=ImportOptions.licence,
        help="licence that its publisher states",
    )
    importing.add_argument(
        "--incomplete",
        action="store_true",
        help="accept a file that lacks layers which the published code never saved; "
        "the model is then a start for training only",
    )


def run(args: argparse.Namespace) -> int:
    """Do what the arguments say.

    Returns:
        0, or 3 when ``verify`` found a damaged model.

    Raises:
        CovidLesionSegError: See `CovidLesionSegLib.weights`.
    """
    action = {
        "list": _list,
        "show": _show,
        "verify": _verify,
        "remove": _remove,
        "import": _import,
    }[args.models_action]
    return action(default_store(), args)


def _add_action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str
) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=text, description=f"{text.capitalize()}.")
    parser.add_argument("--json", action="store_true", help="print JSON for other programs")
    return parser


def _list(store: WeightsStore, args: argparse.Namespace) -> int:
    models = sorted(store.models(), key=_is_for_research)  # keeps the order of the others
    for error in store.problems():
        sys.stderr.write(f"Warning: {error.message}\n")
    if args.json:
        _write_json([_described(model) for model in models])
        return 0
    rows = [
        (
            model.entry.id,
            f"{model.entry.task} ({RESEARCH})" if _is_for_research(model) else model.entry.task,
            f"{model.entry.family} ({model.entry.scale})",
            _megabytes(model.entry.bytes),
            model.origin,
            # Why it is this licence stands in the card (`models show`).
            model.entry.card.licence.partition(" (")[0],
        )
        for model in models
    ]
    _write_table(("id", "task", "network", "size", "origin", "licence"), rows)
    return 0


def _show(store: WeightsStore, args: argparse.Namespace) -> int:
    described = _described(store.find(args.id))
    if args.json:
        _write_json(described)
    else:
        _write_table(("", args.id), [(name, _as_text(value)) for name, value in described.items()])
    return 0


def _verify(store: WeightsStore, args: argparse.Namespace) -> int:
    models = [store.find(name) for name in args.ids] if args.ids else store.models()
    results = [(model.entry.id, _finding(store, model)) for model in models]
    if not args.ids:
        results += [("", error) for error in store.problems()]
    report = [
        {
            "id": model_id,
            "status": error.code if error else "ok",
            "message": error.message if error else "",
        }
        for model_id, error in results
    ]
    if args.json:
        _write_json(report)
    else:
        _write_table(("id", "status", "message"), [tuple(row.values()) for row in report])
    failed = any(error for _, error in results)
    return CovidLesionSegError.exit_code if failed else 0


def _remove(store: WeightsStore, args: argparse.Namespace) -> int:
    store.remove(args.id)
    if args.json:
        _write_json({"removed": args.id})
    else:
        _write_line(f"Removed {args.id!r}.")
    return 0


def _import(store: WeightsStore, args: argparse.Namespace) -> int:
    options = ImportOptions(args.id, args.family, args.licence, args.incomplete)
    try:
        report = import_checkpoint(args.file, store, options)
    except WeightsMismatchError as error:
        if args.json:
            lists = {name: getattr(error, name) for name in ("missing", "unexpected", "misshaped")}
            _write_json({"error": error.code, **lists})
        raise
    if args.json:
        _write_json(
            {
                **_described(report.model),
                "recognised_as": report.layout,
                "unused_entries": list(report.unused),
                "random_tensors": list(report.random),
            }
        )
    else:
        _write_line(imported_summary(report))
    return 0


def _is_for_research(model: StoredModel) -> bool:
    return model.entry.role == RESEARCH


def _finding(store: WeightsStore, model: StoredModel) -> CovidLesionSegError | None:
    try:
        store.read(model)
    except CovidLesionSegError as error:
        return error
    return None


def _described(model: StoredModel) -> dict[str, Any]:
    return {**model.entry.to_dict(), "origin": model.origin, "path": str(model.path)}


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.0f} kB"


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _write_json(value: object) -> None:
    _write_line(json.dumps(value, indent=2, ensure_ascii=False))


def _write_line(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _write_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table: as wide as a terminal, else a line per row for ``grep`` and its kin."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from .console import out

    console, lines = out(), [header, *rows]
    if not console.is_terminal:
        _write_lines(lines)
        return
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    widths = _whole_words(lines, console.width - _GAP * (len(header) - 1))
    for index, name in enumerate(header):
        # The first column is what one copies.
        width = widths[index] if widths else None
        table.add_column(name, overflow="fold", no_wrap=index == 0, width=width)
    for row in lines[1:]:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def _write_lines(lines: Sequence[Sequence[str]]) -> None:
    """Write a line per row, its cells aligned."""
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        _write_line((" " * _GAP).join(cells).rstrip())


def _whole_words(lines: Sequence[Sequence[str]], room: int) -> list[int] | None:
    """Return widths of columns in which no word is broken, None where there is no room for them.

    Columns give way in turn, the one with most to give first; the first column keeps its width.
    """
    columns = list(zip(*lines, strict=True))
    widths = [max(map(len, cells)) for cells in columns]
    words = [max(len(word) for word in " ".join(cells).split()) for cells in columns]
    spare = [0, *(w - least for w, least in zip(widths[1:], words[1:], strict=True))]
    for index in sorted(range(len(widths)), key=lambda i: -spare[i]):
        widths[index] -= min(spare[index], max(0, sum(widths) - room))
    return widths if sum(widths) <= room else None
