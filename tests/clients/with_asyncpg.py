"""asyncpg: everything prepared, everything binary, pools that reset."""

import asyncio
import datetime
import decimal
import uuid

import asyncpg

UTC = datetime.timezone.utc


def each(test):
    def run(hub):
        async def connected():
            connection = await asyncpg.connect(host=hub.host, port=hub.port, user="me", database="headwater")
            try:
                await test(connection)
            finally:
                await connection.close()
        asyncio.run(connected())
    run.__name__ = test.__name__
    return run


@each
async def test_rows_have_their_types(connection):
    rows = await connection.fetch("SELECT minute, url, views, revenue, mean, newest, n, fine, urls FROM by_url "
                                  "WHERE url = $1 ORDER BY minute", "/a")
    assert rows[0]["minute"] == datetime.datetime(2024, 1, 1, tzinfo=UTC), rows
    expected = ("/a", 2, decimal.Decimal("3.75"), 15.5, datetime.date(2024, 2, 1), 20, True, ["/a"])
    assert tuple(rows[0])[1:] == expected, rows


@each
async def test_parameters_of_every_type(connection):
    for cast, value in [("bool", True), ("int2", -7), ("int4", 70_000), ("int8", 7_000_000_000), ("float4", 0.5),
                        ("float8", -1.25), ("numeric(20,3)", decimal.Decimal("-12.345")), ("text", "it's \u00e9"),
                        ("bytea", b"\x00\xff"), ("uuid", uuid.UUID(int=5)), ("date", datetime.date(2024, 2, 29)),
                        ("timestamptz", datetime.datetime(2024, 1, 1, 12, 0, 0, 5, tzinfo=UTC)),
                        ("interval", datetime.timedelta(days=1, seconds=2, microseconds=3)),
                        ("int8[]", [1, None, 3]), ("text[]", ["a", "b c", None])]:
        assert await connection.fetchval(f"SELECT $1::{cast}", value) == value, cast
        assert await connection.fetchval(f"SELECT $1::{cast}", None) is None, cast


@each
async def test_types_are_inferred(connection):
    rows = await connection.fetch("SELECT url FROM by_url WHERE minute >= $1 AND views > $2 ORDER BY url LIMIT $3",
                                  datetime.datetime(2023, 1, 1, tzinfo=UTC), 0, 1)
    assert [tuple(row) for row in rows] == [("/a",)]
    statement = await connection.prepare("SELECT views, url FROM by_url WHERE url = $1")
    assert [t.name for t in statement.get_parameters()] == ["text"]
    assert [a.type.name for a in statement.get_attributes()] == ["int8", "text"]


@each
async def test_cursors_read_in_parts(connection):
    async with connection.transaction():
        seen = []
        async for row in connection.cursor("SELECT value FROM generate_series(1, 1000)", prefetch=64):
            seen.append(row[0])
        assert seen == list(range(1, 1001))


@each
async def test_arrays_of_any(connection):
    one = await connection.fetch("SELECT url FROM by_url WHERE url = ANY($1)", ["/b", "/no"])
    assert [row["url"] for row in one] == ["/b"], one
    rest = await connection.fetch("SELECT url FROM by_url WHERE url <> ALL($1) AND views >= $2", ["/b"], 0)
    assert len(rest) == 2, rest
    assert await connection.fetchval("SELECT count(*) FROM by_url WHERE views = ANY($1)", [-1]) == 0


@each
async def test_records(connection):
    rows = await connection.fetch("SELECT NULL::int8 AS a, ARRAY[1.5, 2.5] AS b")
    assert rows[0]["a"] is None and rows[0]["b"] == [1.5, 2.5], rows


@each
async def test_errors(connection):
    try:
        await connection.fetch("SELECT no_such FROM by_url")
        raise AssertionError("it is refused")
    except asyncpg.UndefinedColumnError as error:
        assert error.position == "8", error.position
    assert await connection.fetchval("SELECT 1") == 1


@each
async def test_copy_out(connection):
    import io
    out = io.BytesIO()
    await connection.copy_from_query("SELECT url, views FROM by_url WHERE url = $1", "/b", output=out, format="csv")
    assert out.getvalue() == b"/b,1\n", out.getvalue()


def test_pools_reset_their_connections(hub):
    async def run():
        async with asyncpg.create_pool(host=hub.host, port=hub.port, user="me", min_size=1, max_size=2) as pool:
            for _ in range(3):
                async with pool.acquire() as connection:
                    await connection.execute("SET application_name = 'x'")
                    assert await connection.fetchval("SELECT count(*) FROM by_url") == 3
    asyncio.run(run())


def test_timeouts_cancel(hub):
    async def run():
        connection = await asyncpg.connect(host=hub.host, port=hub.port, user="me")
        slow = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b"
        try:
            await connection.fetch(slow, timeout=0.3)
            raise AssertionError("it is cancelled")
        except (asyncio.TimeoutError, TimeoutError):
            pass
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()
    asyncio.run(run())
