"""What is named, on attributes whose truth is known."""

import numpy as np

from heml.bias.attributes import Attribute
from heml.bias.group_scores import Found, group_table, leaning_row
from heml.bias.ties import Labelled, agrees, apart, associations, leaning

N = 1200


def images(seed: int = 0) -> tuple[Labelled, np.random.Generator]:
    rng = np.random.default_rng(seed)
    splits = np.where(np.arange(N) < 700, "train", np.where(np.arange(N) < 900, "val", "test"))
    return Labelled(rng.integers(0, 2, N), splits, ["zero", "one"]), rng


def attribute(part: str, values: np.ndarray) -> Attribute:
    return Attribute(
        part, "colour", [f"g{k}" for k in range(int(values.max()) + 1)], values, [[0]] * (int(values.max()) + 1)
    )


def tied(known: Labelled, rng: np.random.Generator, inside: np.ndarray, share: float) -> np.ndarray:
    return np.where(inside & (rng.random(N) < share), known.labels, rng.integers(0, 2, N))


def test_a_tie_in_train_alone_is_named_one_everywhere_is_not_and_an_echo_follows():
    known, rng = images()
    train = known.splits == "train"
    biased = tied(known, rng, train, 0.8)
    looked = [
        attribute("honest", tied(known, rng, np.ones(N, bool), 0.8)),
        attribute("biased", biased),
        attribute("echo", np.where(rng.random(N) < 0.85, biased, 1 - biased)),
        attribute("noise", rng.integers(0, 3, N)),
    ]
    table = associations(looked, known, 0.05).set_index("part")
    assert table["suspect"].to_dict() == {"honest": False, "biased": True, "echo": False, "noise": False}
    assert table.loc["echo", "follows"] == "colour of biased"
    assert table.loc["honest", "v_train"] > 0.6
    assert table.loc["honest", "v_train_low"] < table.loc["honest", "v_train"] < table.loc["honest", "v_train_high"]
    assert table.loc["biased", "shift"] > 0.3


def test_without_a_bias_nothing_is_named_in_ten_seeds():
    named = 0
    for seed in range(10):
        known, rng = images(seed)
        everywhere = np.ones(N, bool)
        looked = [
            attribute(f"p{k}", tied(known, rng, everywhere, share)) for k, share in enumerate((0, 0, 0.3, 0.6, 0.9))
        ]
        named += int(associations(looked, known, 0.05)["suspect"].sum())
    assert named <= 1


def test_labels_that_are_new_in_test_are_no_shift():
    known, rng = images()
    new = Labelled(np.where(known.splits == "train", known.labels, known.labels + 2), known.splits, list("abcd"))
    table = associations([attribute("p", tied(new, rng, new.splits == "train", 0.9) % 2)], new, 0.05)
    assert not table["suspect"].any()
    assert np.isnan(table["q_shift"][0])


def test_how_far_shares_are_apart_written_as_loops():
    train, held = np.array([[30.0, 10.0], [5.0, 15.0], [0.0, 0.0]]), np.array([[10.0, 10.0], [9.0, 1.0], [3.0, 3.0]])
    expected = (40 * (abs(0.75 - 0.5) + abs(0.25 - 0.5)) / 2 + 20 * (abs(0.25 - 0.9) + abs(0.75 - 0.1)) / 2) / 60
    assert float(apart(train[None], held[None])[0]) == np.float64(expected)


def test_a_group_leans_to_the_label_whose_share_train_raises():
    known, rng = images()
    biased = attribute("p", tied(known, rng, known.splits == "train", 0.9))
    assert leaning(biased, known).tolist() == [0, 1]
    told = agrees(biased, known)
    np.testing.assert_array_equal(told, (biased.values == known.labels).astype(float))


def test_scores_by_group_are_means_and_few_images_are_said():
    known, rng = images()
    values = np.where(np.arange(N) >= N - 12, 2, rng.integers(0, 2, N))
    hits = np.where(known.splits == "test", (rng.random(N) < 0.7).astype(float), np.nan)
    table = group_table(attribute("p", values), known, hits)
    for row in table.to_dict("records"):
        inside = ~np.isnan(hits) & (values == int(row["group"][1])) & (known.labels == known.names.index(row["label"]))
        assert row["images"] == inside.sum()
        assert row["p@1"] == hits[inside].mean()
        assert row["few"] == (inside.sum() < 10)
    assert table["few"].any()


def test_the_fall_is_between_images_that_follow_the_tie_and_those_that_break_it():
    known, rng = images()
    biased = attribute("p", tied(known, rng, known.splits == "train", 0.9))
    told, test = agrees(biased, known), known.splits == "test"
    hits = np.where(test, np.where(told == 1, rng.random(N) < 0.95, rng.random(N) < 0.3).astype(float), np.nan)
    row = leaning_row(biased, known, Found(np.where(~test, 1.0, np.nan), hits), "node")
    assert row["with"] == hits[test & (told == 1)].mean()
    assert row["fall"] == row["with"] - hits[test & (told == 0)].mean()
    assert row["fall_low"] > 0.4
    assert row["images_with"] + row["images_against"] == test.sum()
    assert row["gap"] == 1 - np.nanmean(hits)
