"""Held-out predictions: every choice inside the training images, and none by groups they share."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from monai_bone_ssl.errors import ConfigError
from monai_bone_ssl.training.probes.knn import predict_held_out_knn
from monai_bone_ssl.training.probes.nested import (
    WIDE_STRENGTHS,
    predict_held_out,
    predict_with_choice,
    probe_scope,
)
from training.labelled import grouped_problem, make_dataset, split_by_group


def _pipeline(strength):
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, tol=1e-8, max_iter=2000))


def _reference(features, labels, groups, test_features):
    """The whole protocol in scikit-learn."""
    folds = list(StratifiedGroupKFold(5, shuffle=True, random_state=0).split(features, labels, groups))
    unseen = np.empty((len(WIDE_STRENGTHS), len(labels)))
    for row, strength in zip(unseen, WIDE_STRENGTHS, strict=True):
        for train, test in folds:
            row[test] = (
                _pipeline(strength).fit(features[train], labels[train]).decision_function(features[test])
            )
    chosen = int(np.argmax([roc_auc_score(labels, row) for row in unseen]))
    platt = LogisticRegression(C=np.inf).fit(unseen[chosen][:, None], labels)
    logits = _pipeline(WIDE_STRENGTHS[chosen]).fit(features, labels).decision_function(test_features)
    return platt.predict_proba(logits[:, None])[:, 1]


def test_equals_the_protocol_in_scikit_learn():
    features, dataset = grouped_problem()
    train, test = split_by_group(dataset)
    expected = _reference(features[train], dataset.labels[train], dataset.groups[train], features[test])
    np.testing.assert_allclose(predict_held_out(features, dataset, train, test), expected, atol=5e-3)


@pytest.mark.parametrize("predict", [predict_held_out, predict_held_out_knn])
def test_other_test_images_and_test_labels_change_nothing(predict):
    """Labels flipped and all but one test image poisoned: its probability stays, but for rounding.

    Matrix products round differently for one row and for many, on some processors.
    """
    features, dataset = grouped_problem()
    train, test = split_by_group(dataset)
    before = predict(features, dataset, train, test[:1])
    labels, poisoned = dataset.labels, features.copy()
    labels[test] = 1 - labels[test]
    poisoned[test[1:]] = 1e6
    flipped = make_dataset(labels, dataset.parts, dataset.groups)
    after = predict(poisoned, flipped, train, test)
    np.testing.assert_allclose(after[:1], before, rtol=0, atol=1e-6)


def test_group_leak_inside_train_does_not_pay():
    """Features that name the group, and labels that are the group's: only grouped folds see through it.

    Ungrouped inner folds would find weak regularisation to be perfect and call the test images with great
    certainty; grouped ones find that nothing is known, so all probabilities stay near the prevalence.
    """
    rng = np.random.default_rng(0)
    n_groups, per_group = 60, 6
    groups = np.repeat(np.arange(n_groups), per_group)
    of_group = rng.integers(0, 2, n_groups)
    identity = rng.normal(size=(n_groups, 100))
    features = (identity[groups] + 0.01 * rng.normal(size=(len(groups), 100))).astype(np.float32)
    dataset = make_dataset(of_group[groups], ["hand"] * len(groups), [f"group{g}" for g in groups])
    train, test = split_by_group(dataset)
    probabilities = predict_held_out(features, dataset, train, test)
    assert np.abs(logit(probabilities) - logit(dataset.labels[train].mean())).mean() < 1.0
    ungrouped = make_dataset(dataset.labels, dataset.parts, [f"image{i}" for i in range(len(groups))])
    deceived = predict_held_out(features, ungrouped, train, test)
    assert np.abs(logit(deceived.clip(1e-9, 1 - 1e-9))).mean() > 3.0


def test_group_in_both_is_refused():
    features, dataset = grouped_problem()
    train, test = split_by_group(dataset)
    with pytest.raises(ConfigError, match="1 group"):
        predict_held_out(features, dataset, train, np.append(test, train[0]))


def _two_parts(n_elbow_positive):
    """Elbow and wrist whose labels follow feature 0 with opposite signs."""
    rng = np.random.default_rng(0)
    parts = np.repeat(["elbow", "wrist"], 300)
    features = rng.normal(size=(600, 4)).astype(np.float32)
    labels = ((features[:, 0] > 0) == (parts == "wrist")).astype(np.int64)
    surplus = np.flatnonzero((parts == "elbow") & (labels == 1))[n_elbow_positive:]
    kept = np.setdiff1d(np.arange(600), surplus)
    groups = [f"group{i}" for i in range(len(kept))]
    return features[kept], make_dataset(labels[kept], parts[kept], groups)


def test_each_part_gets_its_probe_where_it_has_images_enough():
    features, dataset = _two_parts(100)
    index = np.arange(len(dataset))
    train, test = index[index % 4 != 0], index[index % 4 == 0]
    assert probe_scope(dataset, train) == "part"
    probabilities = predict_held_out(features, dataset, train, test)
    assert roc_auc_score(dataset.labels[test], probabilities) > 0.95, "one probe for both would be blind"


@pytest.mark.parametrize(("positives", "scope"), [(50, "part"), (49, "joint")])
def test_scope_needs_fifty_images_of_each_class(positives, scope):
    _, dataset = _two_parts(positives)
    assert probe_scope(dataset, np.arange(len(dataset))) == scope


def test_scope_needs_a_group_for_each_inner_fold():
    labels, parts = np.tile([0, 1], 100), ["elbow"] * 200
    few = make_dataset(labels, parts, [f"group{i % 4}" for i in range(200)])
    assert probe_scope(few, np.arange(200)) == "joint"


def test_part_without_training_images_is_refused():
    features, dataset = _two_parts(100)
    wrists = np.flatnonzero(dataset.parts == "wrist")
    elbows = np.flatnonzero(dataset.parts == "elbow")
    with pytest.raises(ConfigError, match="part elbow"):
        predict_held_out(features, dataset, wrists, elbows)


def test_choice_is_the_best_candidate_inside_train():
    """Three candidates whose worth is known: noise, the truth, the truth with its sign turned."""
    features, dataset = grouped_problem()
    train, test = split_by_group(dataset)
    noise = np.random.default_rng(1).normal(size=len(dataset))
    seen = []

    def candidates(known, unseen):
        seen.append((set(known), set(unseen)))
        return np.stack([noise[unseen], features[unseen, 0], -features[unseen, 0]]).astype(np.float32)

    probabilities = predict_with_choice(dataset, train, test, candidates)
    platt = LogisticRegression(C=np.inf).fit(features[train, :1], dataset.labels[train])
    np.testing.assert_allclose(probabilities, platt.predict_proba(features[test, :1])[:, 1], atol=1e-3)
    assert set.union(*(unseen for _, unseen in seen[:-1])) == set(train)
    assert seen[-1] == (set(train), set(test))
    for known, unseen in seen:
        assert not set(dataset.groups[list(known)]) & set(dataset.groups[list(unseen)])


def test_probabilities_are_calibrated():
    features, dataset = grouped_problem(n_groups=800)
    train, test = split_by_group(dataset)
    probabilities = predict_held_out(features, dataset, train, test)
    # Labels are drawn with log-odds of twice feature 0.
    assert np.abs(probabilities - expit(2 * features[test, 0])).mean() < 0.05


def test_neighbours_find_what_no_line_separates():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(600, 2)).astype(np.float32)
    labels = (features[:, 0] * features[:, 1] > 0).astype(np.int64)
    dataset = make_dataset(labels, ["hand"] * 600, [f"group{i // 2}" for i in range(600)])
    train, test = split_by_group(dataset)
    assert roc_auc_score(labels[test], predict_held_out_knn(features, dataset, train, test)) > 0.9
    assert roc_auc_score(labels[test], predict_held_out(features, dataset, train, test)) < 0.7
