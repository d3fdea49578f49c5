"""What flags say in words."""

from __future__ import annotations

from CovidLesionSegLib.engine.flags import (
    FLAG_TEXTS,
    RESEARCH_MODEL,
    is_own_sentence,
    research_flag,
    warnings_for,
)
from CovidLesionSegLib.export.job import REMOVED_NAME, without_name


def test_every_flag_has_a_sentence_and_none_is_lost() -> None:
    assert warnings_for(FLAG_TEXTS) == tuple(dict.fromkeys(FLAG_TEXTS.values()))
    assert warnings_for(["never-seen", "never-seen"]) == ("never-seen",)


def test_a_research_model_says_how_good_it_is() -> None:
    (measured,) = warnings_for([research_flag(0.7136)])
    assert measured.startswith(FLAG_TEXTS[RESEARCH_MODEL])
    assert measured.endswith(" 0.71.")
    assert warnings_for([research_flag(None)]) == (FLAG_TEXTS[RESEARCH_MODEL],)


def test_a_ct_named_like_a_word_leaves_the_sentence_alone() -> None:
    (sentence,) = warnings_for([research_flag(1.0)])
    assert is_own_sentence(sentence)
    assert without_name(sentence, "model") == sentence
    assert without_name("The file model is odd.", "model") == f"The file {REMOVED_NAME} is odd."
