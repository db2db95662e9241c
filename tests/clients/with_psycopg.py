"""psycopg 3: parameters of the server, both formats, pipelines, COPY."""

import datetime
import decimal
import uuid

import psycopg

import house

UTC = datetime.timezone.utc


def connect(hub, **options):
    return psycopg.connect(host=hub.host, port=hub.port, user="me", dbname="headwater", **options)


def define(hub):
    with connect(hub, autocommit=True) as connection:
        connection.execute(house.STREAM)
        connection.execute(house.BY_URL)


def test_rows_have_their_types(hub):
    for binary in (False, True):
        with connect(hub) as connection, connection.cursor(binary=binary) as cursor:
            cursor.execute("SELECT minute, url, views, revenue, users, mean, newest, n, fine, urls FROM by_url "
                           "WHERE url = %s ORDER BY minute", ["/a"])
            first, second = cursor.fetchall()
            assert first[0].astimezone(UTC) == datetime.datetime(2024, 1, 1, tzinfo=UTC), first
            expected = ("/a", 2, decimal.Decimal("3.75"), 2, 15.5, datetime.date(2024, 2, 1), 20, True, ["/a"])
            assert first[1:] == expected, first
            assert second[6] is None and second[3] == decimal.Decimal("100.00"), second


def test_parameters_of_every_type(hub):
    values = [True, 7, 70_000, 7_000_000_000, 1.5, decimal.Decimal("12.345"), "it's \u00e9", b"\x00\xff",
              uuid.UUID(int=5), datetime.date(2024, 2, 29), datetime.datetime(2024, 1, 1, 12, tzinfo=UTC),
              datetime.timedelta(days=1, seconds=2, microseconds=3)]
    casts = ["bool", "int2", "int4", "int8", "float8", "numeric(10,3)", "text", "bytea", "uuid", "date", "timestamptz",
             "interval"]
    for binary in (False, True):
        for mark in ("%s", "%b", "%t"):
            with connect(hub) as connection, connection.cursor(binary=binary) as cursor:
                for value, cast in zip(values, casts):
                    got = cursor.execute(f"SELECT {mark}::{cast}", [value]).fetchone()[0]
                    assert got == value, (binary, mark, cast, got, value)
                    got = cursor.execute(f"SELECT {mark}::{cast}", [None]).fetchone()[0]
                    assert got is None, (binary, mark, cast, got)


def test_arrays(hub):
    for binary in (False, True):
        with connect(hub) as connection, connection.cursor(binary=binary) as cursor:
            cursor.execute("SELECT url, sum(views) FROM by_url WHERE url = ANY(%s) GROUP BY url ORDER BY url", [["/a", "/b"]])
            assert cursor.fetchall() == [("/a", 3), ("/b", 1)]
            got = cursor.execute("SELECT %s::int8[]", [[1, None, 3]]).fetchone()[0]
            assert got == [1, None, 3], got


def test_conditions_take_parameters(hub):
    with connect(hub) as connection:
        since = datetime.datetime(2024, 1, 1, tzinfo=UTC)
        rows = connection.execute("SELECT url FROM by_url WHERE minute >= %s AND views >= %s ORDER BY minute, url LIMIT %s",
                                  [since, 1, 2]).fetchall()
        assert rows == [("/a",), ("/b",)], rows
        row = connection.execute("SELECT date_trunc(%s, minute), sum(views) FROM by_url GROUP BY 1", ["hour"]).fetchone()
        assert row[1] == 4, row


def test_prepared_statements(hub):
    with connect(hub, prepare_threshold=1) as connection:
        for url, views in (("/a", 3), ("/b", 1), ("/none", None)) * 3:
            row = connection.execute("SELECT sum(views) FROM by_url WHERE url = %s", [url], prepare=True).fetchone()
            assert row == (views,), (url, row)


def test_pipeline(hub):
    with connect(hub) as connection, connection.pipeline():
        cursors = [connection.execute("SELECT %s::int8 + 1", [n]) for n in range(20)]
        assert [cursor.fetchone()[0] for cursor in cursors] == list(range(1, 21))


def test_errors_have_their_code(hub):
    with connect(hub, autocommit=True) as connection:
        try:
            connection.execute("SELECT no_such FROM by_url")
            raise AssertionError("it is refused")
        except psycopg.errors.UndefinedColumn as error:
            assert error.diag.statement_position == "8", error.diag.statement_position
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_transactions(hub):
    with connect(hub) as connection:
        with connection.transaction():
            connection.execute("SELECT 1")
            try:
                with connection.transaction():
                    connection.execute("SELECT 1 / 0")
            except psycopg.errors.DivisionByZero:
                pass
            assert connection.execute("SELECT 2").fetchone() == (2,)


def test_copy_to(hub):
    with connect(hub) as connection, connection.cursor() as cursor:
        with cursor.copy("COPY (SELECT url, sum(views) AS v FROM by_url GROUP BY url ORDER BY url) TO STDOUT") as copy:
            rows = list(copy.rows())
        assert rows == [("/a", "3"), ("/b", "1")], rows
        with cursor.copy("COPY (SELECT 1::int4, NULL::text) TO STDOUT (FORMAT BINARY)") as copy:
            copy.set_types(["int4", "text"])
            assert list(copy.rows()) == [(1, None)]


def test_copy_from_and_inserts(hub):
    with connect(hub, autocommit=True) as connection:
        connection.execute("CREATE STREAM copied (url TEXT, n BIGINT)")
        connection.execute("CREATE CONTINUOUS VIEW by_copied AS SELECT url, sum(n) AS n FROM copied GROUP BY url")
        cursor = connection.cursor()
        with cursor.copy("COPY copied (url, n) FROM STDIN") as copy:
            for n in range(1000):
                copy.write_row([f"/{n % 2}", n])
        try:
            with cursor.copy("COPY copied FROM STDIN") as copy:
                copy.write_row(["/0", 1])
                copy.write_row(["/0", "many"])
            raise AssertionError("it is refused")
        except psycopg.errors.InvalidTextRepresentation as error:
            assert "2" in (error.diag.context or str(error)), error
        cursor.executemany("INSERT INTO copied VALUES (%s, %s)", [("/1", 7), ("/2", None)])
        rows = connection.execute("SELECT url, n::bigint FROM by_copied ORDER BY url").fetchall()
        assert rows == [("/0", 249500), ("/1", 250007), ("/2", None)], rows
        connection.execute("DROP STREAM copied CASCADE")


def test_tables(hub):
    with connect(hub, autocommit=True) as connection:
        connection.execute("CREATE TABLE names (url TEXT PRIMARY KEY, title TEXT)")
        connection.execute("INSERT INTO names VALUES (%s, %s), ('/b', 'B')", ("/a", "A"))
        join = "SELECT title, sum(views) FROM by_url JOIN names USING (url) GROUP BY title ORDER BY title"
        assert [(title, int(views)) for title, views in connection.execute(join)] == [("A", 3), ("B", 1)]
        assert connection.execute("UPDATE names SET title = 'C' WHERE url = %s", ("/b",)).rowcount == 1
        assert connection.execute("DELETE FROM names WHERE title = 'A'").rowcount == 1
        assert connection.execute("SELECT * FROM names").fetchall() == [("/b", "C")]
        connection.execute("DROP TABLE names")


def test_numbers_are_rounded_for_columns_of_whole_ones(hub):
    with connect(hub, autocommit=True) as connection:
        connection.execute("CREATE TABLE whole (n int, of text)")
        values = [1.5, 2.5, -2.5, 1e9, decimal.Decimal("2.5"), decimal.Decimal("-0.5"), 7]
        for value in values:
            connection.execute("INSERT INTO whole VALUES (%s, %s)", [value, repr(value)])
        got = [row[0] for row in connection.execute("SELECT n FROM whole")]
        assert got == [2, 2, -2, 1_000_000_000, 3, -1, 7], got
        for beyond in (1e300, float("nan"), decimal.Decimal("1e30")):
            try:
                connection.execute("INSERT INTO whole VALUES (%s, 'beyond')", [beyond])
            except psycopg.DataError:
                continue
            raise AssertionError(beyond)
        connection.execute("DROP TABLE whole")


def test_tables_return_what_they_change(hub):
    with connect(hub, autocommit=True) as connection:
        connection.execute("CREATE TABLE stock (id INT PRIMARY KEY, name TEXT NOT NULL, n BIGINT)")
        with connection.cursor().copy("COPY stock FROM STDIN") as copy:
            for n in range(3):
                copy.write_row([n, f"thing {n}", None])
        upsert = ("INSERT INTO stock AS s VALUES (%s, %s, %s) ON CONFLICT (id) DO UPDATE SET n = coalesce(s.n, 0) + excluded.n "
                  "WHERE s.name <> %s RETURNING id, n + %s")
        for binary in (False, True):
            cursor = connection.cursor(binary=binary)
            assert cursor.execute(upsert, (1, "x", 5, "none", 100)).fetchall() == [(1, 105 if not binary else 110)]
        assert connection.execute(upsert, (1, "x", 5, "thing 1", 0)).fetchall() == []
        assert connection.execute(upsert, (9, "nine", 1, "none", 0)).fetchall() == [(9, 1)]
        cursor = connection.cursor()
        cursor.executemany("INSERT INTO stock VALUES (%s, %s, 0) RETURNING id", [(20, "a"), (21, "b")], returning=True)
        ids = [cursor.fetchone()[0]]
        while cursor.nextset():
            ids.append(cursor.fetchone()[0])
        assert ids == [20, 21], ids
        gone = connection.execute("DELETE FROM stock WHERE id >= %s RETURNING *", (20,))
        assert gone.rowcount == 2 and sorted(gone.fetchall()) == [(20, "a", 0), (21, "b", 0)]
        assert connection.execute("UPDATE stock SET n = 7 WHERE id = 2 RETURNING n").fetchone() == (7,)
        connection.execute("DROP TABLE stock")


def test_settings(hub):
    with connect(hub, autocommit=True, options="-c statement_timeout=4s", application_name="tests") as connection:
        assert connection.execute("SHOW statement_timeout").fetchone() == ("4000ms",)
        assert connection.execute("SHOW application_name").fetchone() == ("tests",)
        assert connection.info.parameter_status("TimeZone") == "UTC"


def test_cancel(hub):
    with connect(hub, autocommit=True) as connection:
        connection.cancel_safe(timeout=5)
        assert connection.execute("SELECT 1").fetchone() == (1,)
