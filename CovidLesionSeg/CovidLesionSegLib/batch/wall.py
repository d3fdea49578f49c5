"""``index.html``: a wall of pictures, one per case, with its numbers.

One file without scripts or styles from elsewhere; pictures are loaded from the folders of the
cases as they come into view, so that a thousand cases open at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from CovidLesionSegLib.engine.atomic import atomic_path
from CovidLesionSegLib.engine.result import Lobe

from .summary import DONE, WARNING_SEPARATOR, SummaryRow

_STYLE = """
:root { color-scheme: light dark; font-family: system-ui, sans-serif; }
body { margin: 1.5rem auto; max-width: 90rem; padding: 0 1rem; line-height: 1.4; }
h1 { font-size: 1.4rem; margin: 0 0 .3rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.wall { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0; width: 20rem; border: 1px solid #8886; border-radius: .4rem; overflow: hidden; }
figure img { display: block; width: 100%; height: auto; background: #000; }
figcaption { padding: .5rem .7rem .6rem; font-size: .85rem; }
figcaption b { font-size: 1.15rem; }
.id { overflow-wrap: anywhere; }
.small, figcaption table { color: #777; font-size: .78rem; }
figcaption table { border-collapse: collapse; width: 100%; margin-top: .3rem; }
figcaption td { padding: 0; text-align: center; }
.note { color: #b26a00; }
.failed { border-collapse: collapse; font-size: .85rem; }
.failed td, .failed th { border-top: 1px solid #8886; padding: .35rem .8rem .35rem 0; }
.failed th, .failed td { text-align: left; vertical-align: top; }
nav label { margin-right: 1.2rem; }
"""

_SCRIPT = """
const wall = document.querySelector('.wall');
const sort = document.getElementById('sort'), find = document.getElementById('find');
const figures = Array.from(wall.children);
function show() {
  const number = sort.value === 'percent';
  figures.sort((a, b) => number ? b.dataset.percent - a.dataset.percent
    : a.dataset.case.localeCompare(b.dataset.case));
  figures.forEach(f => { f.hidden = !f.dataset.case.includes(find.value); wall.append(f); });
}
sort.onchange = find.oninput = show;
"""

_INTRODUCTION = """<p class="small">Not reviewed by a person. For research; not a medical device.
<a href="summary.csv">All numbers (CSV)</a></p>
<nav><label>Sort by <select id="sort"><option value="case">case</option>
<option value="percent">infected part</option></select></label>
<label>Find <input id="find" type="search"></label></nav>"""


def write_wall(path: Path, rows: Sequence[SummaryRow], cases: str) -> None:
    """Write the wall.

    Args:
        path: File to write, beside the folder of the cases.
        rows: Rows of the summary.
        cases: Name of the folder of the cases.

    Raises:
        CovidLesionSegError: ``output-not-written``.
    """
    done = [row for row in rows if row["status"] == DONE]
    failed = [row for row in rows if row["status"] != DONE]
    shared = _shared_warnings(done)
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8"><title>CovidLesionSeg batch</title>',
        '<meta name="viewport" content="width=device-width">',
        f"<style>{_STYLE}</style></head><body>",
        f"<h1>{len(done)} CTs segmented, {len(failed)} without a result</h1>",
        _INTRODUCTION,
        *(f'<p class="small note">For all: {escape(warning)}</p>' for warning in shared),
        '<h2>Results</h2><div class="wall">',
        *(_figure(row, cases, shared) for row in done),
        "</div>",
        *_failures(failed),
        f"<script>{_SCRIPT}</script></body></html>\n",
    ]
    with atomic_path(path) as partial:
        partial.write_text("\n".join(parts), encoding="utf-8")


def _warnings(row: SummaryRow) -> list[str]:
    return [text for text in row["warnings"].split(WARNING_SEPARATOR) if text]


def _shared_warnings(rows: Sequence[SummaryRow]) -> list[str]:
    """Return what would stand below every picture."""
    texts = [_warnings(row) for row in rows]
    return [text for text in texts[0] if all(text in other for other in texts)] if texts else []


def _figure(row: SummaryRow, cases: str, shared: Sequence[str]) -> str:
    folder = f"{cases}/{quote(row['case'])}"
    name = escape(row["case"])
    notes = [text for text in (_twin(row), *_warnings(row)) if text and text not in shared]
    remarks = f'<div class="small note">{escape(" ".join(notes))}</div>' if notes else ""
    percent = row.get("infected_percent", "")
    return (
        f'<figure data-case="{name}" data-percent="{escape(percent or "-1")}">'
        f'<a href="{folder}/overview.png"><img loading="lazy" width="320" height="240" '
        f'src="{folder}/thumbnail.png" alt="Most affected slice of {name}"></a>'
        f'<figcaption><div class="id">{name}</div>'
        f"<b>{_number(percent)} %</b> of the lungs infected{_interval(row)}"
        f'<div class="small">{_number(row.get("infected_ml", ""))} ml in '
        f"{escape(row.get('lesion_count') or 'n/a')} lesions; CT severity score "
        f"{escape(row.get('ctss_0_25') or 'n/a')} of 25</div>{_lobes(row)}{remarks}"
        "</figcaption></figure>"
    )


def _twin(row: SummaryRow) -> str:
    same = row.get("same_ct_as", "")
    return f"Same CT as {same}." if same else ""


def _number(text: str) -> str:
    return f"{float(text):.1f}" if text else "n/a"


def _interval(row: SummaryRow) -> str:
    low, high = row.get("infected_percent_low", ""), row.get("infected_percent_high", "")
    return f" ({_number(low)} to {_number(high)})" if low and high else ""


def _lobes(row: SummaryRow) -> str:
    names = "".join(f"<td>{lobe.name}</td>" for lobe in Lobe)
    numbers = "".join(
        f"<td>{_number(row.get(f'{lobe.name}_infected_percent', ''))}</td>" for lobe in Lobe
    )
    return f"<table><tr>{names}</tr><tr>{numbers}</tr></table>"


def _failures(failed: Sequence[SummaryRow]) -> list[str]:
    if not failed:
        return []
    rows = (
        f'<tr><td class="id">{escape(row["case"])}</td><td>{escape(row["code"])}</td>'
        f"<td>{escape(row['reason'])}</td></tr>"
        for row in failed
    )
    head = "<tr><th>Case</th><th>Code</th><th>Reason</th></tr>"
    return ["<h2>Without a result</h2>", f'<table class="failed">{head}', *rows, "</table>"]
