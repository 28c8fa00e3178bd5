"""The comparison of many classes runs, on a table that takes a second."""

import pytest

classes = pytest.importorskip("benchmarks.classes")


def test_what_is_measured_stands_on_the_page():
    names = ["one tree, 31 leaves", "a tree a class, 8 leaves"]
    records = [classes.measured(name, 3, (900, 20, 40)) for name in names]
    lines = classes.page(records, (900, 20, 40)).splitlines()
    assert lines[0].startswith("900 x 20 rows, 40 classes")
    rows = [line.split(" | ") for line in lines[4:]]
    assert [row[0].removeprefix("| ") for row in rows] == names
    for row, record in zip(rows, records, strict=True):
        assert row[1] == "3" and float(row[5]) == pytest.approx(record["loss"], abs=5e-4)
        assert record["loss"] < 3.5  # log(40) is 3.69


def test_every_class_is_among_the_training_rows():
    X, y = classes.table(500, 4, 300)
    assert X.shape == (500, 4) and sorted(set(y[:300])) == list(range(300))
    assert all((a == b).all() for a, b in zip((X, y), classes.table(500, 4, 300), strict=True))
