"""What every number of the table means, with its source.

The texts travel with each result (`Quantification.conventions`), so that a table can be
read without the manual. A change of any definition raises `DEFINITIONS_VERSION`.
"""

from __future__ import annotations

from types import MappingProxyType

from .flags import EDITED_CLASSES
from .lungs_inflation import DENSE_FROM_HU, EXPIRATION
from .postprocess import CORE_MARGIN, LARGE_SHARE, LEAST_DENSITY_RATIO, MINIMUM_LESION_ML
from .severity import TRACE_PERCENT
from .surroundings import SURROUNDINGS_MM
from .uncertainty import NEGLIGIBLE_DOUBT

DEFINITIONS_VERSION = "3"

CONSOLIDATION_FROM_HU = -300
"""Voxel by voxel, no other border agrees clearly better with what experts draw
(`training/reports/lesion-classes.md`)."""

HIGH_OPACITY_FROM_HU = -200
WELL_AERATED_HU = (-950, -700)
EMPHYSEMA_TO_HU = -950
LESION_CLASS_SHARES = (0.25, 0.75)

SMALL_LESION_ML = 0.5
"""A sphere of 10 mm. A third to a half of the findings in a CT with COVID-19 can be smaller, and
all of them together less than a hundredth of the infection (`Testing/unit/test_review_order`)."""

CONVENTIONS = MappingProxyType(
    {
        "volume_ml": "Voxels of the region times the voxel volume, which is the determinant of "
        "the image's index-to-world matrix.",
        "infected_ml": "Volume of the infection mask inside the region. The mask holds the "
        "26-connected findings above the model's threshold that exceed it by "
        f"{CORE_MARGIN:g} somewhere, measure at least {MINIMUM_LESION_ML:g} ml, and hold at least "
        f"{LEAST_DENSITY_RATIO:g} times as much tissue (mean HU + 1000) as the uncalled lung "
        f"within {SURROUNDINGS_MM:g} mm, unless they fill {100 * LARGE_SHARE:g}% of the lungs. "
        "Interval: from without the expected false positives (sum of 1 - p inside the mask) to "
        "with the expected false negatives (sum of p outside); for a consensus, the models' "
        "disagreement 1 - agreement counts where it is larger; doubt below "
        f"{NEGLIGIBLE_DOUBT:g} counts as none, and so does that of voxels a person has decided. "
        f"In a scan that seems to be taken in expiration (flag {EXPIRATION}: the darkest peak of "
        "the lungs' histogram, on a scale on which air is "
        f"-1000 HU, lies above {DENSE_FROM_HU:g} HU) the lower end is at most the volume at "
        f"{CONSOLIDATION_FROM_HU} HU and above: healthy dependent lung then looks like ground "
        "glass (Verschakelen et al., AJR 1993;161(4)). What a person has decided stays.",
        "infected_percent": "infected_ml / volume_ml. Interval: as for infected_ml; for lobes "
        "also the range when the lobe's border moves by the lobes' uncertainty in mm.",
        "ggo_percent": "Share of the region that is infected and darker than "
        f"{CONSOLIDATION_FROM_HU} HU (ground glass; quantitative CT papers put ground glass at "
        "-750 to -300 HU; darker lesion voxels are counted here too, so that ground glass and "
        "consolidation add up to the infected percentage). Where a person corrected the segments "
        f"(flag {EDITED_CLASSES}), these tell instead of HU.",
        "consolidation_percent": "Share of the region that is infected and at least "
        f"{CONSOLIDATION_FROM_HU} HU (consolidation; -300 to 50 HU in quantitative CT papers; "
        "brighter lesion voxels, such as vessels in it, are counted here too), or what a person "
        "corrected, as for ggo_percent.",
        "mean_hu": "Mean HU of the infected voxels of the region.",
        "hu_p10": "10th percentile of the HU of the infected voxels.",
        "hu_p50": "Median HU of the infected voxels.",
        "hu_p90": "90th percentile of the HU of the infected voxels.",
        "lesion_count": "Lesions (3D components, 26-connected, of at least "
        f"{MINIMUM_LESION_ML:g} ml; in a review also what a person split or merged) of which the "
        "region holds the most; the total counts all.",
        "lesion_class": "Ground-glass, mixed or consolidation: less than "
        f"{100 * LESION_CLASS_SHARES[0]:g}%, less than {100 * LESION_CLASS_SHARES[1]:g}%, or more "
        f"of the lesion's voxels have at least {CONSOLIDATION_FROM_HU} HU. The borders are a "
        "convention of this software: vessels in ground glass reach a few percent, and partial "
        "volume around consolidation as well. Corrections of the segments do not change it.",
        "doubt_ml": "Volume in doubt: the expected volume of a lesion that is none, its voxels' "
        "doubt as for infected_ml, added up. The review lists lesions by it, largest first, "
        f"because that is what may change the numbers most; those below {SMALL_LESION_ML:g} ml "
        "(a sphere of 10 mm) come last.",
        "involvement_score": "0 to 5 by infected_percent of the lobe: below 1, below 5, below "
        "25, below 50, below 75, from 75 on. The lower border belongs to the class, as in the "
        "public code of CORADS-AI (Lessmann et al., Radiology 2021;298(1)); readers who follow "
        "Francone et al. (Eur Radiol 2020;30) give 0 only for exactly none and include the "
        "upper border.",
        "wal_percent": "Well-aerated lung: share of the region between "
        f"{WELL_AERATED_HU[0]} (not included) and {WELL_AERATED_HU[1]} HU (included) "
        "(Colombi et al., Radiology 2020;296(2)).",
        "laa950_percent": f"Low attenuation area: share of the region at {EMPHYSEMA_TO_HU} HU "
        "or below, the emphysema index of scans in inspiration.",
        "uncertainty_percent": "Mean binary entropy of the infection probability over the "
        "infected voxels; 100 is a coin's toss.",
        "agreement_percent": "Mean agreement of the consensus' models over the infected voxels.",
        "ctss_0_25": "CT severity score: sum of the five lobes' involvement_score (0 to 25).",
        "tss_0_20": "Total severity score: per lobe 0 (below "
        f"{TRACE_PERCENT:g}%), 1 (to 25%), 2 (to 50%), 3 (to 75%), 4 (above); sum of five "
        "lobes (Li et al., Eur Radiol 2020;30).",
        "ct_grade_0_4": "CT-0 to CT-4 of MosMedData, by the infected share of both lungs: below "
        f"{TRACE_PERCENT:g}%, to 25%, to 50%, to 75%, above (Morozov et al. 2020).",
        "po_percent": "Percentage of opacity: infected share of both lungs (Chaganti et al., "
        "Radiol Artif Intell 2020;2(4)).",
        "pho_percent": "Percentage of high opacity: share of both lungs that is infected and at "
        f"least {HIGH_OPACITY_FROM_HU} HU (Chaganti et al. 2020).",
        "outside_lung_ml": "Volume of the infection mask outside the lung mask; in no other "
        "number. Dense lung that the lung mask misses shows here.",
    }
)
