from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis import Needs
from petl_study.errors import InputError
from tables import runs_of

MERGES = {"a": None, "b": "its prompts are tokens.", "c": None}


def study(rng: np.random.Generator, ahead, *, tasks: int = 12, seeds: int = 2, noise: float = 0.01) -> pd.DataFrame:
    """Methods a, b, ... ahead of a common accuracy by so much; a tunes 100, b 200, ..., each on 1000 examples."""
    accuracy = 0.6 + rng.uniform(-0.1, 0.1, size=(tasks, 1, 1)) + np.asarray(ahead)[:, None]
    accuracy = accuracy + rng.normal(0, noise, size=(tasks, len(ahead), seeds))
    runs = runs_of(accuracy, train_examples=1000, backbone="net")
    place = runs["method"].map(lambda name: ord(name) - ord("a") + 1)
    sizes = {"tuned_parameters": 100 * place, "bytes": 400.0 * place, "peak_memory_bytes": 1e9 + 1e6 * place}
    return runs.assign(**sizes, fit_seconds=10.0 / place, predict_seconds=1.0)


def shifts(runs: pd.DataFrame, kept) -> pd.DataFrame:
    """Accuracies on test and on two shift sets, of which each method keeps such a share."""
    share = runs["method"].map(dict(zip("abcdefgh", kept, strict=False)))
    base = runs[["task", "group", "method", "seed"]].assign(examples=100)
    sets = [base.assign(set=name, accuracy=runs["test_accuracy"] * share) for name in ("noise:1", "noise:2")]
    return pd.concat([base.assign(set="test", accuracy=runs["test_accuracy"]), *sets], ignore_index=True)


def ask(runs: pd.DataFrame, needs: Needs | None = None, **options: object) -> analysis.Recommendation:
    return analysis.recommend(runs, needs, rng=np.random.default_rng(0), draws=100, **options)


# ------------------------------------------------------------------------------------------------------------- verdict


def test_the_one_that_is_clearly_best_comes_first_and_may_be_taken(rng):
    made = ask(study(rng, [0, 0.0, 0.2, 0.0]))
    assert made.outcome == "one best"
    assert made.verdict.startswith("Take c. c is told apart from all 3 other candidates on 12 tasks")
    assert made.candidates["method"].iloc[0] == "c"
    assert made.candidates["verdict"].tolist() == ["short list", "behind", "behind", "behind"]


def test_where_all_are_equal_the_verdict_says_that_they_are_not_separated(rng):
    runs = study(rng, [0, 0, 0, 0], noise=0.0)
    made = ask(runs)
    assert made.outcome == "not separated"
    assert made.verdict.startswith("The evidence does not separate the 4 candidates")
    assert "Choose by cost: a is the cheapest of them (100 tuned parameters)" in made.verdict
    assert "Take" not in made.verdict
    assert made.candidates["method"].tolist() == ["a", "b", "c", "d"]
    assert (made.candidates["verdict"] == "short list").all()


def test_the_short_list_is_ordered_by_the_cost_that_is_named_and_the_rest_by_rank(rng):
    runs = study(rng, [0.2, 0.2, 0.2, -0.1, 0.0])
    by_size, by_time = ask(runs), ask(runs, Needs(cost="fit_seconds"))
    assert by_size.outcome == by_time.outcome == "short list"
    assert by_size.candidates["method"].tolist() == ["a", "b", "c", "e", "d"]
    assert by_time.candidates["method"].tolist() == ["c", "b", "a", "e", "d"]
    assert by_time.candidates["place"].tolist() == [1, 2, 3, 4, 5]
    assert by_size.verdict.startswith("3 of 5 candidates are not told apart from the best")
    assert "c is the cheapest of them (3.3 s of training)" in by_time.verdict


def test_too_few_tasks_to_tell_anything_recommend_nothing(rng):
    made = ask(study(rng, [0, 0.1, 0.2, 0.3], tasks=1))
    assert made.outcome == "too few tasks"
    assert "nothing is recommended" in made.verdict
    assert (made.candidates["verdict"] == "not compared").all()
    assert any("this task is the very one you have" in note for note in made.notes)


def test_a_difference_that_the_test_of_ranks_misses_is_not_hidden(rng):
    """a is behind b on every task, but among eight methods that two ranks are no difference."""
    made = ask(study(rng, [0.05, 0.06, *[0.0] * 6], tasks=8, noise=0.001))
    assert made.outcome == "short list"
    assert "its accuracy less that of the best is -1.0 points [-1.1, -0.9], a difference as long as" in made.verdict
    assert any("Not told apart is not equal" in note for note in made.notes)


def test_a_method_alone_is_compared_with_nothing(rng):
    made = ask(study(rng, [0.0, 0.1]), Needs(parameters=100))
    assert made.outcome == "one candidate"
    assert made.verdict == "a alone meets the needs: there is nothing to compare it with."


def test_the_evidence_is_that_of_the_other_tables(rng):
    runs = study(rng, [0.0, 0.1, 0.2])
    table = ask(runs).candidates.set_index("method")
    best = analysis.best_sets(runs).query("scope == 'all tasks'").set_index("method")
    assert table["mean_rank"].to_dict() == best["mean_rank"].to_dict()
    assert table["behind_high"].dropna().to_dict() == best["high"].dropna().to_dict()
    means = analysis.mean_accuracies(runs).query("scope == 'all tasks'").set_index("method")
    assert table["accuracy_low"].to_dict() == means["low"].to_dict()
    assert table["tuned_parameters"].to_dict() == {"a": 100, "b": 200, "c": 300}
    assert (table["level"] == 0.95).all()
    strict = ask(runs, level=0.5).candidates.set_index("method")
    assert (strict["accuracy_high"] < table["accuracy_high"]).all()


def test_the_same_seed_says_the_same(rng):
    runs = study(rng, [0.0, 0.01, 0.02])
    pd.testing.assert_frame_equal(ask(runs).candidates, ask(runs).candidates)


# ------------------------------------------------------------------------------------------------------------- filters


def test_limits_leave_out_whoever_exceeds_them_and_say_by_what(rng):
    runs = study(rng, [0, 0, 0, 0])
    made = ask(runs, Needs(parameters=300, memory_bytes=1.002e9, stored_bytes=1200))
    assert set(made.candidates["method"]) == {"a", "b"}
    assert made.excluded.to_dict("records") == [
        {"method": "c", "need": "memory", "reason": "1,003 MB of peak memory"},
        {"method": "d", "need": "parameters", "reason": "400 tuned parameters"},
        {"method": "d", "need": "memory", "reason": "1,004 MB of peak memory"},
        {"method": "d", "need": "storage", "reason": "0.0016 MB stored"},
    ]


def test_a_limit_is_of_the_largest_size_that_any_task_chose(rng):
    runs = study(rng, [0, 0, 0])
    runs.loc[(runs["method"] == "a") & (runs["task"] == "t0"), "tuned_parameters"] = 5000
    assert ask(runs, Needs(parameters=4999)).excluded["method"].tolist() == ["a"]
    on_others = ask(runs, Needs(parameters=4999, tasks=("t1", "t2", "t3")))
    assert on_others.excluded.empty


def test_what_must_merge_is_filtered_by_reason_and_the_unknown_is_out(rng):
    runs = study(rng, [0, 0, 0, 0])
    made = ask(runs, Needs(merge=True), merges=MERGES)
    assert set(made.candidates["method"]) == {"a", "c"}
    assert dict(zip(made.excluded["method"], made.excluded["reason"], strict=True)) == {
        "b": "its prompts are tokens",
        "d": "whether it can be merged is not known",
    }
    free = ask(runs, merges=MERGES).candidates.set_index("method")["merges"]
    assert free.dropna().to_dict() == {"a": True, "b": False, "c": True}


def test_a_method_without_a_run_on_a_task_is_no_candidate(rng):
    runs = study(rng, [0, 0.3, 0])
    runs = runs[(runs["method"] != "b") | (runs["task"] != "t3")]
    made = ask(runs)
    assert made.excluded.to_dict("records") == [
        {"method": "b", "need": "every task", "reason": "no finished run on t3"}
    ]
    assert "b" in set(ask(runs, Needs(tasks=("t0", "t1"))).candidates["method"])


def test_what_is_not_recorded_counts_against_a_limit_and_is_last_by_cost(rng):
    runs = study(rng, [0, 0, 0], noise=0.0)
    runs.loc[runs["method"] == "a", "tuned_parameters"] = np.nan
    assert ask(runs, Needs(parameters=10**9)).excluded["reason"].tolist() == ["its tuned parameters are not recorded"]
    made = ask(runs)
    assert made.candidates["method"].tolist() == ["b", "c", "a"]
    assert "Tuned parameters not recorded, and so last of the short list: a." in made.notes


def test_needs_that_nobody_meets_say_what_leaves_out_whom(rng):
    with pytest.raises(InputError) as told:
        ask(
            study(rng, [0, 0, 0]),
            Needs(parameters=100, merge=True),
            merges={"a": "it has prompts", "b": None, "c": None},
        )
    message = str(told.value)
    assert "no method meets these needs" in message
    assert "To ask for at most 100 tuned parameters leaves out 2: b (200 tuned parameters), c (300" in message
    assert "To ask for merging leaves out 1: a (it has prompts)" in message


# --------------------------------------------------------------------------------------------------------------- tasks


def test_a_gap_is_a_group_or_several(rng):
    runs = study(rng, [0, 0.1])
    assert ask(runs, Needs(gap="near")).tasks == ("t0", "t3", "t6", "t9")
    assert len(ask(runs, Needs(gap="far")).tasks) == 8
    assert ask(runs, Needs(gap="structured")).tasks == ("t11", "t2", "t5", "t8")
    assert any("pre-trained on photographs" in note for note in ask(runs, Needs(gap="near")).notes)


def test_the_best_of_another_group_is_not_recommended(rng):
    runs = study(rng, [0.0, 0.0, 0.0])
    better = (runs["method"] == "a") & (runs["group"] == "natural") | (runs["method"] == "c") & (
        runs["group"] != "natural"
    )
    runs.loc[better, "test_accuracy"] += 0.2
    assert ask(runs, Needs(gap="near"), level=0.5).candidates["method"].iloc[0] == "a"
    assert ask(runs, Needs(gap="far")).verdict.startswith("Take c.")


def test_a_kind_of_task_that_the_study_does_not_hold_is_refused(rng):
    runs = study(rng, [0, 0.1], tasks=1)
    with pytest.raises(InputError, match=r"holds no task of specialized or structured.*it has natural: t0"):
        ask(runs, Needs(gap="far"))
    with pytest.raises(InputError, match="unknown task 't9'; known: t0"):
        ask(runs, Needs(tasks=("t9",)))


@pytest.mark.parametrize(
    ("asked", "there"), [("few", True), (1000, True), (4000, True), (250, True), ("many", False), (50_000, False)]
)
def test_evidence_of_another_number_of_examples_is_said_to_be_that(rng, asked, there):
    made = ask(study(rng, [0, 0.2]), Needs(examples=asked), manyshot=analysis.load_published("manyshot"))
    assert made.verdict.startswith("No run here learned from about as many examples") != there
    assert ("Take b" in made.verdict) == there
    assert made.published.empty == there
    if not there:
        assert "all that follows is evidence of 1,000" in made.verdict


def test_published_evidence_is_of_the_number_and_gap_that_are_asked_for(rng):
    runs, manyshot = study(rng, [0, 0.2]), analysis.load_published("manyshot")
    shown = ask(runs, Needs(examples="many", gap="near"), manyshot=manyshot).published
    assert set(shown["task"]) == {"cifar100_full"}
    assert shown["method"].is_unique
    assert set(shown["protocol"]) == {"published: many-shot"}
    small = ask(runs, Needs(examples="many", gap="near", parameters=250_000), manyshot=manyshot).published
    assert set(small["method"]) <= {"ssf", "lora", "fact_tk", "houlsby_adapter"}
    assert (small["tuned_parameters"] <= 250_000).all()
    of_lora = manyshot[(manyshot["task"] == "cifar100_full") & (manyshot["method"] == "lora")]
    chosen = shown.set_index("method").loc["lora"]
    assert chosen["size"] == of_lora.set_index("size")["val_accuracy"].idxmax()
    assert chosen["low"] < chosen["accuracy"] < chosen["high"]


def test_of_tasks_with_several_sizes_those_count_that_are_asked_for(rng):
    runs = study(rng, [0, 0.2])
    runs["train_examples"] = np.where(runs["task"].isin(["t0", "t1", "t2", "t3"]), 20_000, 1000)
    assert ask(runs, Needs(examples="many")).tasks == ("t0", "t1", "t2", "t3")
    assert len(ask(runs, Needs(examples="few")).tasks) == 8


def test_an_unrecorded_number_of_examples_is_no_evidence(rng):
    runs = study(rng, [0, 0.2])
    for frame in (runs.drop(columns="train_examples"), runs.assign(train_examples=np.nan)):
        assert "is not recorded, so they are no evidence of 1,000" in ask(frame, Needs(examples=1000)).verdict
        assert ask(frame).verdict.startswith("Take b")


# ---------------------------------------------------------------------------------------------------------- robustness


def test_who_needs_robustness_is_told_who_is_accurate_under_shift(rng):
    runs = study(rng, [0.0, 0.1, 0.0])
    accuracies = shifts(runs, [0.9, 0.5, 0.6])
    plain, robust = ask(runs, accuracies=accuracies), ask(runs, Needs(robust=True), accuracies=accuracies)
    assert plain.candidates["method"].iloc[0] == "b"
    assert robust.verdict.startswith("Take a.")
    assert "accuracy under shift" in robust.verdict
    for made in (plain, robust):
        kept = made.candidates.set_index("method")["retention"]
        assert kept.to_dict() == pytest.approx({"a": 0.9, "b": 0.5, "c": 0.6})
    row = robust.candidates.set_index("method").loc["a"]
    assert row["accuracy"] == pytest.approx(
        0.9 * runs.query("method == 'a'").groupby("task")["test_accuracy"].mean().mean()
    )


def test_robustness_is_not_recommended_where_nothing_was_tried_under_shift(rng):
    runs = study(rng, [0, 0.1])
    accuracies = shifts(runs[runs["group"] == "natural"], [0.9, 0.5])
    made = ask(runs, Needs(robust=True), accuracies=accuracies)
    assert made.tasks == ("t0", "t3", "t6", "t9")
    assert any(note.startswith("Without shift sets, and so left out: t1,") for note in made.notes)
    with pytest.raises(InputError, match=r"no run was tried under shift on .* Tasks with shift sets: t0, t3, t6, t9\."):
        ask(runs, Needs(robust=True, gap="far"), accuracies=accuracies)
    with pytest.raises(InputError, match="Tasks with shift sets: none"):
        ask(runs, Needs(robust=True))


# --------------------------------------------------------------------------------------------------------------- notes


def test_one_seed_and_unequal_searches_are_said(rng):
    runs = study(rng, [0, 0.1], seeds=1).assign(search_trials=4)
    runs.loc[runs["method"] == "b", "search_trials"] = 80
    notes = ask(runs).notes
    assert "One seed: how much training again would change is not known." in notes
    assert "Search was unequal, 4 to 80 trials a task: whoever had more is favoured." in notes
    assert "All of it is evidence of net, and of no other backbone." in notes
    assert not any("One seed" in note or "unequal" in note for note in ask(study(rng, [0, 0.1])).notes)


def test_times_of_several_machines_are_not_shown_and_memory_of_them_is_no_limit(rng):
    runs = study(rng, [0, 0.1])
    runs["hardware"] = np.where(runs["seed"] == 0, "arm", "x86")
    made = ask(runs)
    assert made.candidates[["fit_seconds", "peak_memory_bytes", "ratio"]].isna().all(axis=None)
    assert made.candidates["tuned_parameters"].notna().all()
    assert any("several machines" in note for note in made.notes)
    with pytest.raises(InputError, match="peak memory was measured on 2 machines"):
        ask(runs, Needs(memory_bytes=1e12))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"examples": "some"}, "examples must be few, many or a whole number"),
        ({"examples": 0}, "examples must be at least 1"),
        ({"gap": "near", "tasks": ("t0",)}, "not both"),
        ({"cost": "price"}, "unknown cost 'price'; known: bytes"),
        ({"memory_bytes": 0}, "memory_bytes must be at least 1"),
        ({"parameters": -1}, "parameters must be at least 0"),
        ({"stored_bytes": float("nan")}, "stored_bytes must be at least 1"),
    ],
)
def test_needs_that_make_no_sense_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        Needs(**given)


def test_runs_that_are_not_comparable_are_refused(rng):
    runs = study(rng, [0, 0.1])
    with pytest.raises(InputError, match="different backbone"):
        ask(pd.concat([runs, runs.assign(backbone="other", seed=9)]))
    with pytest.raises(InputError, match="there are no runs"):
        ask(runs.iloc[:0])


def test_the_published_results_can_be_asked():
    made = ask(analysis.load_published(protocol="default"), Needs(gap="far"))
    assert made.outcome == "short list"
    assert set(made.candidates.query("verdict == 'behind'")["method"]) >= {"linear", "full", "vpt_shallow"}
    assert len(made.tasks) == 12
