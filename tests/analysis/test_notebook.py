"""A notebook goes on where a study lacks something, and nowhere else."""

from __future__ import annotations

import pandas as pd
import pytest

import analysis
from analysis import figures


def test_what_a_study_lacks_is_said_and_the_next_line_runs(capsys):
    with analysis.where_possible():
        figures.mean_ranks(pd.DataFrame({"method": ["lora"]}))
    assert " ".join(capsys.readouterr().out.split()).startswith(
        "Not shown here: the frame has no column mean_rank, low"
    )


def test_what_is_no_lack_of_a_study_stops():
    with pytest.raises(ZeroDivisionError), analysis.where_possible():
        _ = 1 / 0


def test_what_can_be_shown_is_not_commented_on(capsys):
    with analysis.where_possible():
        pass
    assert not capsys.readouterr().out
