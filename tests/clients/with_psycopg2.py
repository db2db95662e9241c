"""psycopg2: values in the text, one simple query each."""

import datetime
import decimal

import psycopg2
import psycopg2.extras


def connect(hub):
    return psycopg2.connect(host=hub.host, port=hub.port, user="me", dbname="headwater")


def test_rows_have_their_types(hub):
    connection = connect(hub)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT url, views, revenue, mean, newest, fine, urls FROM by_url WHERE url = %s ORDER BY minute",
                       ("/a",))
        expected = ("/a", 2, decimal.Decimal("3.75"), 15.5, datetime.date(2024, 2, 1), True, ["/a"])
        assert cursor.fetchone() == expected
        assert [column.name for column in cursor.description][:2] == ["url", "views"]
    connection.close()


def test_values_in_the_text(hub):
    connection = connect(hub)
    with connection.cursor() as cursor:
        for value in (1, -5, 1.5, decimal.Decimal("1.25"), "a'b\\c", True, None, datetime.date(2024, 1, 2)):
            cursor.execute("SELECT %s", (value,))
            got = cursor.fetchone()[0]
            assert got == value or decimal.Decimal(str(got)) == value, (value, got)
        cursor.execute("SELECT count(*) FROM by_url WHERE url IN %s", (("/a", "/b"),))
        assert cursor.fetchone() == (3,)
        cursor.execute("SELECT count(*) FROM by_url WHERE url = ANY(%s)", (["/a", "/b"],))
        assert cursor.fetchone() == (3,)
    connection.close()


def test_dictionaries_and_several_statements(hub):
    connection = connect(hub)
    connection.autocommit = True
    with connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
        cursor.execute("SELECT 1 AS one; SELECT 2 AS two")
        assert cursor.fetchone() == {"two": 2}
    connection.close()


def test_rollback_after_an_error(hub):
    connection = connect(hub)
    with connection.cursor() as cursor:
        try:
            cursor.execute("SELECT * FROM no_such")
            raise AssertionError("it is refused")
        except psycopg2.errors.UndefinedTable:
            pass
        try:
            cursor.execute("SELECT 1")
            raise AssertionError("the transaction is aborted")
        except psycopg2.errors.InFailedSqlTransaction:
            pass
        connection.rollback()
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)
    connection.close()


def test_copy_expert(hub):
    import io
    connection = connect(hub)
    with connection.cursor() as cursor:
        out = io.StringIO()
        cursor.copy_expert("COPY (SELECT url, views FROM by_url ORDER BY url, minute) TO STDOUT WITH CSV HEADER", out)
        assert out.getvalue() == "url,views\n/a,2\n/a,1\n/b,1\n", out.getvalue()
    connection.close()
