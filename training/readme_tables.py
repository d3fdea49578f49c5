"""Write what the READMEs say of scores: ``python -m training.readme_tables``.

That is "How good is it" in the README, and in `training/README.md` how weak supervision and the
rule over findings do. Everything comes from the reports in `training/reports` and
`training/anatomy/results`; a test compares the READMEs with what the reports say now.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .card_sections import NEARLY_HEALTHY_PERCENT
from .finding_rules_text import summary_text
from .k_fold_text import about, about_consensus, case_table
from .severity_text import comparison_text
from .splits import load_split
from .tables import number_text

_HERE = Path(__file__).parent
README = _HERE.parent / "README.md"
TRAINING_README = _HERE / "README.md"
REPORTS = _HERE / "reports"
LUNGS = _HERE / "anatomy" / "results" / "lungs.json"
SECTION = "scores"
_LUNGS_OF_USERS = "with_infection"
DRAM = REPORTS / "dram.json"
FINDING_RULES = REPORTS / "finding-rules.json"
K_FOLD = REPORTS / "k-fold.json"
K_FOLD_CONSENSUS = REPORTS / "k-fold-consensus.json"
MODELS = (
    "inf-net-lite",
    "bsnet-lite",
    "co-supervision-lite",
    "consensus",
    "relation-lite",
    "dram-lite",
)

SEMISEG = REPORTS / "semiseg.json"

_ABOUT_SLICES = """\
COVID-SemiSeg, the 48 test slices of the Inf-Net papers: Dice plainly at 0.5, and as the mean over
256 thresholds after stretching each map, as published, each with a 95% bootstrap interval over
slices. That mean takes soft borders for errors, so maps of one network gain by sharpening alone:
the last column has it for all, published maps too, with logits divided by {temperature:g}; no pixel
crosses 0.5. "Bundled" models were trained on CTs alone; in these pictures HU and pixel size had to
be guessed, and dRAM answers only inside the lungs that the lung network finds, which on pictures
cropped like these leave out a tenth of what experts drew. The "semiseg" networks are lite ones
trained on the 50 slices on one CPU core, and not bundled ("semi": also on our own labels of the
1600; "from-volumes": started from the bundled `inf-net-lite`). Temperature and sizes were chosen on
a fold of the 50. "Within" another network's infection, ground glass is told from consolidation by
the bundled class network, which 48 of the 50 slices taught, or by the engine's border in HU.
[Every measurement](training/reports/semiseg.md), also earlier ones of the same networks, and
[how](training/semiseg/README.md)."""

_ABOUT_VOLUMES = """\
Whole scans of patients that no model was trained on; temperature and threshold were chosen on
the same patients, so these are validation scores, not those of an untouched test set. Dice per
scan, through the whole pipeline; the mean is over the scans with disease, with a 95% bootstrap
interval; "error" is the mean absolute error of the infected percentage in points of lung. Two
readers of such scans agree at a Dice of .74 to .86. `{healthy}` is a nearly healthy scan in
expiration: the column says how much of its lung is called infected where experts see {truth}%.
Of a bundled model less than {most:g}% is asked, which {verdict}. Findings hardly denser than the
lung around them are left out, a rule that was
[found on these scans](training/README.md#findings-that-are-hardly-denser-than-the-lung).
`relation-lite`, and `dram-lite`, which learned from severity scores alone, are for research and no
part of the consensus."""

_OTHER_TABLES = """\
The commands need the data and the runs as well (`--data`, `--runs`, `--out`):
[training/README.md](training/README.md) has them in full. More tables:
[infected percentage by expert and model](training/anatomy/results/infected_percent.md),
[dRAM from severity scores alone](training/reports/dram.md),
[relation-driven training against its own ablation](training/reports/relation-ablation.md)."""


def replace_section(text: str, name: str, body: str) -> str:
    """Return the text with what stands between two markers replaced.

    The markers are the comments ``<!-- name: command -->`` and ``<!-- /name -->``.

    Raises:
        ValueError: The markers are not there.
    """
    begin, end = text.find(f"<!-- {name}: "), text.find(f"<!-- /{name} -->")
    if begin < 0 or end < begin:
        raise ValueError(f"there is no section {name!r}")
    first = text.index("-->", begin) + len("-->")
    return f"{text[:first]}\n{body.strip()}\n{text[end:]}"


def scores_text() -> str:
    """Return the section in Markdown."""
    reports = {name: _read(REPORTS / f"{name}.json") for name in MODELS}
    return "\n\n".join([_volumes(reports), _k_fold(), _lungs(), _slices(), _OTHER_TABLES])


def _read(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values


def _volumes(reports: Mapping[str, Mapping[str, Any]]) -> str:
    cases = {key: value["pipeline"] for key, value in reports[MODELS[0]]["cases"].items()}
    diseased = [key for key, scores in cases.items() if _is_number(scores["dice_diseased"])]
    (healthy,) = (key for key in cases if key not in diseased)
    scores = cases[healthy]
    truth = f"{abs(scores['infected_percent'] - scores['percent_error']):.2f}"
    head = ["model", *diseased, "mean", f"{healthy}: infected %", "error"]
    lines = [f"| {' | '.join(head)} |", f"|---{'|--:' * (len(head) - 1)}|"]
    for name, report in reports.items():
        lines.append(_volume_row(name, report, diseased, healthy))
    commands = "\n".join(f"{name}: `{_command(report)}`  " for name, report in reports.items())
    about = _ABOUT_VOLUMES.format(
        healthy=healthy,
        truth=truth,
        most=NEARLY_HEALTHY_PERCENT,
        verdict=_verdict(reports, healthy),
    )
    return "\n\n".join([about, "\n".join(lines), f"Made by\n{commands}".rstrip()])


def _verdict(reports: Mapping[str, Mapping[str, Any]], healthy: str) -> str:
    """Say which models call too much of a nearly healthy scan infected."""
    missed = [
        f"`{name}`"
        for name, report in reports.items()
        if report["cases"][healthy]["pipeline"]["infected_percent"] >= NEARLY_HEALTHY_PERCENT
    ]
    return f"all but {' and '.join(missed)} keep" if missed else "all keep"


def _volume_row(name: str, report: Mapping[str, Any], diseased: list[str], healthy: str) -> str:
    cases, summary = report["cases"], report["summary"]["pipeline"]
    mean = summary["dice_diseased"]
    cells = [f"{cases[key]['pipeline']['dice']:.3f}" for key in diseased]
    cells.append(f"**{mean['mean']:.3f}** ({mean['low']:.3f} to {mean['high']:.3f})")
    cells.append(f"{cases[healthy]['pipeline']['infected_percent']:.2f}")
    cells.append(f"{summary['percent_error']['mean']:.1f}")
    return f"| {name} | {' | '.join(cells)} |"


def _command(report: Mapping[str, Any]) -> str:
    return str(report["command"])


def _is_number(value: object) -> bool:
    return isinstance(value, float) and value == value


def _k_fold() -> str:
    report, consensus = _read(K_FOLD), _read(K_FOLD_CONSENSUS)
    return (
        f"{about(report)} {about_consensus(consensus)}\n\n{case_table(report, consensus)}\n"
        f"Made by `{report['command']}` and `{consensus['command']}`."
    )


def _lungs() -> str:
    report = _read(LUNGS)
    cases = report["cases"]
    held_out = [key for key in load_split("bundled").validation if key in cases]
    dice = [cases[key][_LUNGS_OF_USERS]["lung_dice"] for key in held_out]
    inside = {key: case[_LUNGS_OF_USERS]["infection_inside"] for key, case in cases.items()}
    least = min(inside, key=inside.__getitem__)
    return (
        f"Lungs: mean Dice {sum(dice) / len(dice):.3f} on the {len(dice)} held-out scans. Of the "
        f"infection that experts drew, {min(inside.values()):.3f} to {max(inside.values()):.3f} "
        f"lies inside them; least on {least}, where the experts' own lungs hold "
        f"{cases[least]['expert_lungs']['infection_inside']:.3f}. "
        f"Made by `{_command(report)}`."
    )


def _slices() -> str:
    report = _read(SEMISEG)
    head = ["network", "target", "Dice at 0.5", "mean Dice", "mean Dice, sharpened"]
    lines = [f"| {' | '.join(head)} |", "|---|---|--:|--:|--:|"]
    for row in final_rows(report["rows"]):
        summary = row["summary"]
        mean = _with_interval(summary["published_protocol"]["mean_dice"], row["interval_mean_dice"])
        half = _with_interval(summary["threshold_0.5"]["dice"], row["interval_half_dice"])
        sharp = number_text(row["mean_dice_sharpened"])
        lines.append(f"| {row['label']} | {row['target']} | {half} | {mean} | {sharp} |")
    about_slices = _ABOUT_SLICES.format(temperature=report["temperature"])
    return "\n\n".join([about_slices, "\n".join(lines), f"Made by `{_command(report)}`."])


def final_rows(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return one row per network and target, target by target, else in the order given.

    Of a network the run with the most steps counts, and of its maps those of the most sizes.
    """
    final: dict[tuple[str, ...], Mapping[str, Any]] = {}
    for row in rows:
        names = tuple(member.get("run", row["label"]) for member in _members(row))
        place = (row["target"], *names)
        if place not in final or _stage(row) > _stage(final[place]):
            final[place] = row
    targets = list(dict.fromkeys(row["target"] for row in rows))
    return sorted(final.values(), key=lambda row: targets.index(row["target"]))


def _members(row: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    members: Sequence[Mapping[str, Any]] = row["maps"].get("members", [row["maps"]])
    return members


def _stage(row: Mapping[str, Any]) -> tuple[int, int]:
    members = _members(row)
    steps = sum(member.get("steps", 0) for member in members)
    return steps, sum(max(1, len(member.get("sizes", []))) for member in members)


def _with_interval(value: float, interval: Sequence[float]) -> str:
    low, high = interval
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def sections() -> dict[Path, dict[str, str]]:
    """Return what belongs into which README, by the name of the section."""
    dram: list[dict[str, Any]] = json.loads(DRAM.read_text(encoding="utf-8"))
    return {
        README: {SECTION: scores_text()},
        TRAINING_README: {
            "dram": comparison_text(dram),
            "finding-rules": summary_text(_read(FINDING_RULES)),
        },
    }


def renewed(path: Path, bodies: Mapping[str, str]) -> str:
    """Return the text of a README with its sections as the reports have them now."""
    text = path.read_text(encoding="utf-8")
    for name, body in bodies.items():
        text = replace_section(text, name, body)
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and write the sections."""
    about = argparse.ArgumentParser(prog="python -m training.readme_tables", description=__doc__)
    about.parse_args(arguments)
    for path, bodies in sections().items():
        path.write_text(renewed(path, bodies), encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
