"""The package `datasketches` of PyPI opens what to_datasketches() makes, and answers within the stated errors."""

import math

import psycopg
from datasketches import (compact_theta_sketch, count_min_sketch, frequent_items_error_type, frequent_items_sketch,
                          frequent_strings_sketch, hll_sketch, hll_union, tdigest_double, tgt_hll_type, theta_intersection,
                          theta_union, PyLongsSerDe)

ROWS = 40_000
VIEW = """CREATE CONTINUOUS VIEW exported AS
          SELECT k, hll_agg(u, 12) AS h, theta_agg(u, 4096) AS th, topk_agg(t, 5) AS top, topk_agg(n, 5) AS topn,
                 dist_agg(x) AS q, freq_agg(t, 0.01, 0.99) AS f, count(*) AS n
          FROM exports GROUP BY k"""


def connect(hub):
    return psycopg.connect(host=hub.host, port=hub.port, user="me", dbname="headwater", autocommit=True)


def filled(hub):
    """A connection to a hub whose view has two large groups, `even` and `odd`, and one of three events."""
    connection = connect(hub)
    if connection.execute("SELECT 1 FROM headwater.views WHERE name = 'exported'").fetchone():
        return connection
    connection.execute("CREATE STREAM exports (k TEXT, u BIGINT, t TEXT, n BIGINT, x DOUBLE PRECISION)")
    connection.execute(VIEW)
    with connection.cursor().copy("COPY exports FROM STDIN") as copy:
        for i in range(ROWS):
            # Half of the users are in both groups; every fourth event is the text "often".
            user = i // 2 if i % 4 < 2 else i
            text = "often" if i // 2 % 4 == 0 else f"t{i}"
            copy.write_row(["even" if i % 2 == 0 else "odd", user, text, i // 2 % 3, float(i)])
        for i in range(3):
            copy.write_row(["few", i, f"t{i}", i, float(i)])
    return connection


def exported(connection, column, key):
    sql = f"SELECT to_datasketches({column}) FROM exported WHERE k = %s"
    return bytes(connection.execute(sql, [key], binary=True).fetchone()[0])


def truth(connection, expression, key):
    return connection.execute(f"SELECT {expression} FROM exported WHERE k = %s", [key]).fetchone()[0]


def users(key):
    even = 0 if key == "even" else 1
    return {i // 2 if i % 4 < 2 else i for i in range(ROWS) if i % 2 == even}


def near(got, wanted, error):
    assert abs(got - wanted) <= error * wanted, (got, wanted, error)


def test_hll(hub):
    connection = filled(hub)
    # Four standard errors of 1.04 / sqrt(4096).
    error = 4 * 1.04 / 64
    union = hll_union(12)
    for key in ("even", "odd"):
        sketch = hll_sketch.deserialize(exported(connection, "h", key))
        assert (sketch.lg_config_k, sketch.tgt_type) == (12, tgt_hll_type.HLL_8), sketch
        near(sketch.get_estimate(), len(users(key)), error)
        near(sketch.get_estimate(), truth(connection, "h", key), error)
        union.update(sketch)
    near(union.get_estimate(), len(users("even") | users("odd")), error)
    near(hll_sketch.deserialize(exported(connection, "h", "few")).get_estimate(), 3, 0.01)
    combined = connection.execute("SELECT to_datasketches(combine(h)) FROM exported", binary=True).fetchone()[0]
    near(hll_sketch.deserialize(bytes(combined)).get_estimate(), len(users("even") | users("odd")), error)


def test_theta(hub):
    connection = filled(hub)
    error = 4 / 4095 ** 0.5
    sketches = {key: compact_theta_sketch.deserialize(exported(connection, "th", key)) for key in ("even", "odd", "few")}
    union, both = theta_union(12), theta_intersection()
    for key in ("even", "odd"):
        sketch = sketches[key]
        assert sketch.is_estimation_mode() and sketch.is_ordered() and sketch.num_retained == 4096, sketch
        near(sketch.get_estimate(), len(users(key)), error)
        near(sketch.get_estimate(), truth(connection, "theta_cardinality(th)", key), 0.001)
        union.update(sketch)
        both.update(sketch)
    all_users = users("even") | users("odd")
    near(union.get_result().get_estimate(), len(all_users), error)
    shared = len(users("even") & users("odd"))
    assert abs(both.get_result().get_estimate() - shared) <= error * len(all_users)
    assert sketches["few"].get_estimate() == 3 and not sketches["few"].is_estimation_mode()


def test_frequent_items(hub):
    connection = filled(hub)
    sketch = frequent_strings_sketch.deserialize(exported(connection, "top", "even"))
    total, often = ROWS // 2, ROWS // 8
    assert sketch.total_weight == total, sketch
    assert sketch.get_lower_bound("often") <= often <= sketch.get_upper_bound("often"), sketch
    # Texts seen once fill the 64 counters many times over.
    assert 0 < sketch.get_upper_bound("often") - sketch.get_lower_bound("often") <= total / 65, sketch
    heavy = sketch.get_frequent_items(frequent_items_error_type.NO_FALSE_POSITIVES)
    assert [item[0] for item in heavy] == ["often"], heavy
    few = frequent_strings_sketch.deserialize(exported(connection, "top", "few"))
    assert [few.get_estimate(f"t{i}") for i in range(4)] == [1, 1, 1, 0], few
    longs = frequent_items_sketch.deserialize(exported(connection, "topn", "odd"), PyLongsSerDe())
    expected = [sum(1 for i in range(1, ROWS, 2) if i // 2 % 3 == n) for n in range(3)]
    assert [longs.get_estimate(n) for n in range(3)] == expected, longs


def test_tdigest(hub):
    connection = filled(hub)
    digest = tdigest_double.deserialize(exported(connection, "q", "odd"))
    assert digest.get_total_weight() == ROWS // 2 and digest.get_min_value() == 1.0, digest
    assert digest.get_max_value() == float(ROWS - 1), digest
    count, compression = ROWS // 2, 200
    for q in (0.001, 0.01, 0.25, 0.5, 0.75, 0.99, 0.999):
        # The stated bound of a rank; the library interpolates between centroids a little differently.
        bound = q * (1 - q) * (4 * math.log(count / compression) + 24) / compression + 2 / count
        rank = (digest.get_quantile(q) - 1) / (ROWS - 2)
        assert abs(rank - q) <= bound, (q, rank, bound)
        here = (truth(connection, f"dist_quantile(q, {q})", "odd") - 1) / (ROWS - 2)
        assert abs(rank - here) <= bound, (q, rank, here)
    digest.merge(tdigest_double.deserialize(exported(connection, "q", "even")))
    assert digest.get_total_weight() == ROWS and abs(digest.get_quantile(0.5) / ROWS - 0.5) < 0.06, digest
    few = tdigest_double.deserialize(exported(connection, "q", "few"))
    assert (few.get_total_weight(), few.get_quantile(0.5)) == (3, 1.0), few


def test_count_min(hub):
    connection = filled(hub)
    sketch = count_min_sketch.deserialize(exported(connection, "f", "even"))
    assert sketch.total_weight == ROWS // 2 and sketch.get_relative_error() <= 0.0101, sketch
    sketch.merge(count_min_sketch.deserialize(exported(connection, "f", "odd")))
    assert sketch.total_weight == ROWS, sketch
