"""The rows of a fit: which of them count, and how messages name those that are wrong."""

import numpy as np
import pytest
import sklearn
from scipy import sparse
from sklearn.model_selection import (
    GroupKFold,
    GroupShuffleSplit,
    KFold,
    LeaveOneGroupOut,
    StratifiedKFold,
    cross_val_score,
)

from boostgrad import BoostGradClassifier, BoostGradDataset, BoostGradRanker, BoostGradRegressor, BoostGradSurvival
from boostgrad.losses import LambdaRank, SquaredError

SMALL = {"n_estimators": 5, "min_samples_leaf": 5, "random_state": 0}

# Of each loss that refuses some: a face, its arguments, a target that is accepted and one that is not.
REFUSED = [
    *[(BoostGradRegressor, {"loss": loss}, 2.0, -1.0) for loss in ("poisson", "gamma", "tweedie", "squared_log_error")],
    *[(BoostGradRegressor, {"loss": loss}, 2.0, -3.0) for loss in ("lognormal_nll", "gamma_nll", "poisson_nll")],
    (BoostGradRegressor, {"loss": "negative_binomial_nll"}, 2.0, 0.5),
    (BoostGradRegressor, {"loss": "cross_entropy"}, 0.5, 1.5),
    (BoostGradRegressor, {"loss": "poisson"}, [1.0, 2.0], [1.0, -1.0]),
    (BoostGradRegressor, {"loss": "poisson"}, [np.nan, 2.0], [np.nan, -1.0]),
    *[(BoostGradRanker, {"loss": loss}, 2.0, -1.0) for loss in ("lambdarank", "xendcg", "rank_map", "pairwise")],
    *[(BoostGradRanker, {"loss": loss}, 2.0, 32.0) for loss in ("lambdarank", "xendcg")],
    (BoostGradRanker, {"loss": LambdaRank(label_gain=[0, 1, 3])}, 2.0, 3.0),
    (BoostGradSurvival, {"loss": "cox"}, [2.0, 1.0], [-1.0, 1.0]),
    (BoostGradSurvival, {"loss": "aft"}, [2.0, 3.0], [-1.0, 1.0]),
    (BoostGradSurvival, {"loss": "aft"}, [2.0, 3.0], [0.0, np.inf]),
    (BoostGradSurvival, {"loss": "aft"}, [2.0, 3.0], [0.0, 0.0]),
]


def random_rows(good, seed, n=60):
    """A table, a target of acceptable rows, weights of which about a third are 0, and groups of about ten rows."""
    rng = np.random.default_rng(seed)
    y = np.array([good] * n)
    if y.ndim == 2 and not np.isnan(y).any():
        y[: n // 2] += 1.0 if y[0, 1] != 1 else [1.0, 0.0]
    return rng.random((n, 3)), y, rng.integers(0, 3, n).astype(float), rng.integers(0, 6, n)


def groups_of(face, groups, suffix=""):
    return {f"groups{suffix}": groups} if face is BoostGradRanker else {}


@pytest.mark.parametrize(("face", "arguments", "good", "bad"), REFUSED)
def test_a_bad_target_is_named_by_its_row_wherever_it_goes(face, arguments, good, bad, seed):
    X, y, weight, groups = random_rows(good, seed)
    if np.isnan(y).any():
        y[::2] = 1.0
    more = groups_of(face, groups)
    model = face(**arguments, **SMALL, early_stopping=True)
    with_bad = y.copy()
    with_bad[weight == 0] = bad
    model.fit(
        X,
        with_bad,
        weight,
        **more,
        X_val=X,
        y_val=with_bad,
        sample_weight_val=weight,
        **groups_of(face, groups, "_val"),
    )
    for row in np.flatnonzero(weight)[::4]:  # some of them are held out
        with_bad[row] = bad
        with pytest.raises(ValueError, match=rf"^y: .*row {row} has"):
            model.fit(X, with_bad, weight, **more)
        with pytest.raises(ValueError, match=rf"^y_val: .*row {row} has"):
            model.fit(
                X, y, X_val=X, y_val=with_bad, sample_weight_val=weight, **more, **groups_of(face, groups, "_val")
            )
        with_bad[row] = y[row]


def test_losses_of_ones_own_may_refuse_targets_by_any_error():
    class Own(SquaredError):
        def check_target(self, y):
            if (y < 0).any():
                raise ValueError(f"row {np.flatnonzero(y < 0)[0]} is negative")

    X, y = np.random.default_rng(0).random((40, 2)), np.ones(40)
    y[7] = -1
    with pytest.raises(ValueError, match="^y: row 7 is negative"):
        BoostGradRegressor(Own(), early_stopping=True).fit(X, y)
    with pytest.raises(ValueError, match=r"^y \(rows counted among the 39 that are left of it\): row 6 is negative"):
        BoostGradRegressor(Own()).fit(X, y, np.arange(40) > 0)


def test_what_is_left_to_train_on_is_checked_too():
    y = np.column_stack([np.ones(20), np.arange(20) == 3])
    model = BoostGradSurvival(early_stopping=True, validation_fraction=0.5)
    with pytest.raises(ValueError, match="y, without the rows held out .*at least one event"):
        for seed in range(5):
            model.set_params(random_state=seed).fit(np.zeros((20, 1)), y)


TARGETS = {
    BoostGradRegressor: lambda x: 3.0 * x,
    BoostGradClassifier: lambda x: np.array(["a", "b", "c"])[np.floor(3 * x).astype(int)],
    BoostGradRanker: lambda x: np.floor(3 * x),
    BoostGradSurvival: lambda x: np.column_stack([1 + x, (7 * x) % 1 < 0.7]),
}


def containers():
    pandas, polars, arrow = (pytest.importorskip(name) for name in ("pandas", "polars", "pyarrow"))
    names = list("uvw")
    return {
        "numpy": lambda X: X,
        "pandas": lambda X: pandas.DataFrame(X, columns=names, index=np.arange(len(X)) + 5),
        "polars": lambda X: polars.DataFrame(X, schema=names),
        "arrow": lambda X: arrow.table(dict(zip(names, X.T, strict=True))),
        "csr": sparse.csr_array,
        "coo": sparse.coo_matrix,
        "lists": lambda X: X.tolist(),
    }


@pytest.mark.parametrize("container", ["numpy", "pandas", "polars", "arrow", "csr", "coo", "lists"])
@pytest.mark.parametrize("face", TARGETS)
@pytest.mark.parametrize("scoring", ["loss", "own"])
def test_validation_rows_of_weight_zero_are_absent(face, container, scoring, seed):
    make = containers()[container]
    rng = np.random.default_rng(seed)
    X, X_val = rng.random((120, 3)), rng.random((60, 3))
    y, y_val = TARGETS[face](X[:, 0]), TARGETS[face](X_val[:, 0])
    groups, groups_val = rng.integers(0, 10, 120), rng.integers(0, 5, 60)
    weight = rng.integers(0, 3, 60).astype(float)
    kept = np.flatnonzero(weight)

    def fit(rows):
        target = y_val.copy()
        if face is BoostGradClassifier:
            target[weight == 0] = "z"  # which training knows nothing of
        given = {"X_val": make(X_val[rows]), "y_val": target[rows], "sample_weight_val": weight[rows]}
        scorer = (
            "loss" if scoring == "loss" else lambda model, X, y, sample_weight=None: model.score(X, y, sample_weight)
        )
        model = face(**SMALL, scoring=scorer)
        more = groups_of(face, groups), groups_of(face, groups_val[rows], "_val")
        return model.fit(make(X), y, **given, **more[0], **more[1])

    every, alone = fit(np.arange(60)), fit(kept)
    np.testing.assert_array_equal(every.validation_score_, alone.validation_score_)
    np.testing.assert_array_equal(every.predict(make(X)), alone.predict(make(X)))
    for one, other in zip(
        getattr(every, "conformity_scores_", ()), getattr(alone, "conformity_scores_", ()), strict=True
    ):
        np.testing.assert_array_equal(one.score, other.score)


def test_validation_rows_of_weight_zero_in_a_dataset(seed):
    rng = np.random.default_rng(seed)
    X, y, weight = rng.random((100, 3)), rng.integers(0, 2, 100), rng.integers(0, 3, 100).astype(float)
    data = BoostGradDataset(X, y)
    target = np.where(weight > 0, y, 7)
    kept = weight > 0
    scores = [
        BoostGradClassifier(**SMALL).fit(data, X_val=BoostGradDataset(*given, reference=data)).validation_score_
        for given in ((X, target, weight), (X[kept], y[kept], weight[kept]))
    ]
    np.testing.assert_array_equal(*scores)


def test_rows_of_weight_zero_take_no_rank(seed):
    rng = np.random.default_rng(seed)
    X, y, groups = rng.random((100, 3)), rng.integers(0, 4, 100), rng.integers(0, 9, 100)
    weight = rng.integers(0, 3, 100).astype(float)
    kept = weight > 0
    model = BoostGradRanker(**SMALL).fit(X, y, groups=groups)
    for more in ({}, {"k": 3}):
        alone = model.score(X[kept], y[kept], weight[kept], groups=groups[kept], **more)
        assert model.score(X, np.where(kept, y, -1), weight, groups=groups, **more) == alone


@pytest.mark.parametrize("cv", [None, 3])
def test_calibration_rows_of_weight_zero_may_hold_any_label(cv, seed):
    rng = np.random.default_rng(seed)
    X, y, weight = rng.random((120, 3)), rng.integers(0, 2, 120), rng.integers(0, 3, 120).astype(float)
    model = BoostGradClassifier(**SMALL).fit(X, y)
    junk = np.where(weight > 0, y, 9)
    model.calibrate(X, junk, weight, cv=cv)
    if cv is None:
        found = model.conformity_scores_[0].score
        model.calibrate(X[weight > 0], y[weight > 0], weight[weight > 0])
        np.testing.assert_array_equal(found, model.conformity_scores_[0].score)
    junk[np.flatnonzero(weight)[5]] = 9
    with pytest.raises(ValueError, match=f"y, row {np.flatnonzero(weight)[5]}: label 9 does not occur"):
        model.calibrate(X, junk, weight, cv=cv)


# ---- groups ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("face", TARGETS)
@pytest.mark.parametrize("chosen", [0.3, GroupKFold(4), GroupShuffleSplit(1, random_state=3), LeaveOneGroupOut()])
@pytest.mark.parametrize("dataset", [False, True])
def test_groups_are_set_aside_whole(face, chosen, dataset, seed):
    """As if what is held out had been given as validation data; rows of weight 0 are in no part."""
    if dataset and face is BoostGradSurvival:
        pytest.skip("it takes no dataset")
    rng = np.random.default_rng(seed)
    X = rng.random((200, 3))
    y, groups, weight = TARGETS[face](X[:, 0]), rng.integers(0, 12, 200), rng.integers(0, 3, 200).astype(float)
    names = np.array([f"g{i}" for i in rng.permutation(12)])[groups]
    seen = []

    def scorer(model, X, y, groups):
        seen.append(groups)
        return -len(seen)

    model = face(**SMALL, early_stopping=True, validation_fraction=chosen, n_iter_no_change=1, scoring=scorer)
    if dataset:
        model.fit(BoostGradDataset(X, y, weight), groups=names)
    else:
        model.fit(X, y, weight, groups=names)
    numbers = np.unique(names, return_inverse=True)[1][weight > 0]
    assert not set(seen[0]) & set(seen[1]) and set(seen[0]) | set(seen[1]) == set(numbers)
    assert sorted([*seen[0], *seen[1]]) == sorted(numbers)
    assert len(set(seen[1])) == {0.3: 4}.get(chosen, len(set(seen[1])))


@pytest.mark.parametrize("face", TARGETS)
def test_groups_change_nothing_but_the_split(face, seed):
    X = np.random.default_rng(seed).random((100, 3))
    y, groups = TARGETS[face](X[:, 0]), np.arange(100) % 7
    given = {"groups": groups} if face is BoostGradRanker else {}
    models = [face(**SMALL).fit(X, y, **more) for more in (given, {"groups": groups.tolist()})]
    np.testing.assert_array_equal(models[0].predict(X), models[1].predict(X))


@pytest.mark.filterwarnings("ignore:The groups parameter is ignored by KFold")
@pytest.mark.parametrize("face", TARGETS)
def test_what_is_wrong_with_a_split_is_said_of_validation_fraction(face):
    X = np.random.default_rng(0).random((60, 3))
    y, groups = TARGETS[face](X[:, 0]), np.arange(60) % 6

    class Empty(KFold):
        def split(self, X, y=None, groups=None):
            return iter([])

    for splitter, more, words in (
        (GroupKFold(3), {}, r"validation_fraction=GroupKFold\(.*'groups'"),
        (KFold(3), {"groups": groups}, r"validation_fraction=KFold\(.*tears groups apart"),
        (GroupKFold(7), {"groups": groups}, r"validation_fraction=GroupKFold\(.*number of groups: 6"),
        (Empty(3), {"groups": groups}, r"validation_fraction=Empty\(.*it has no split"),
    ):
        if face is BoostGradRanker and not more:
            continue  # which says that groups are needed
        with pytest.raises(ValueError, match=words):
            face(**SMALL, early_stopping=True, validation_fraction=splitter).fit(X, y, **more)
    with pytest.raises(ValueError, match="groups must have one value for each of 60 rows"):
        face().fit(X, y, groups=groups[1:])


def test_splitters_of_survival_data_get_the_events(seed):
    rng = np.random.default_rng(seed)
    X = rng.random((100, 3))
    y = np.column_stack([1 + X[:, 0], rng.permutation(np.arange(100) < 30)])
    model = BoostGradSurvival(**SMALL, early_stopping=True, validation_fraction=StratifiedKFold(5)).fit(X, y)
    kept, held_out = next(StratifiedKFold(5).split(X, y[:, 1]))
    alone = BoostGradSurvival(**SMALL).fit(X[kept], y[kept], X_val=X[held_out], y_val=y[held_out])
    np.testing.assert_array_equal(model.validation_score_, alone.validation_score_)


def test_groups_are_routed():
    X, groups = np.random.default_rng(0).random((100, 3)), np.arange(100) % 5
    with sklearn.config_context(enable_metadata_routing=True):
        model = BoostGradRegressor(**SMALL, early_stopping=True, validation_fraction=GroupKFold(2))
        model.set_fit_request(groups=True)
        assert np.isfinite(cross_val_score(model, X, X[:, 0], cv=GroupKFold(3), params={"groups": groups})).all()
