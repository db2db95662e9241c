"""SQLAlchemy Core: reflection and SELECT, over psycopg 3 and psycopg2."""

import sqlalchemy as sa


def engines(hub):
    for driver in ("psycopg", "psycopg2"):
        yield sa.create_engine(f"postgresql+{driver}://me@{hub.host}:{hub.port}/headwater")


def test_names(hub):
    for engine in engines(hub):
        inspector = sa.inspect(engine)
        assert inspector.get_schema_names().count("public") == 1
        assert inspector.get_view_names() == ["by_url"], inspector.get_view_names()
        assert inspector.get_table_names() == [], inspector.get_table_names()
        assert inspector.get_foreign_table_names() == ["pageviews"], inspector.get_foreign_table_names()
        assert inspector.has_table("by_url") and not inspector.has_table("no_such")
        assert "date_trunc" in inspector.get_view_definition("by_url")
        engine.dispose()


def test_columns(hub):
    for engine in engines(hub):
        columns = {c["name"]: c["type"] for c in sa.inspect(engine).get_columns("by_url")}
        assert isinstance(columns["minute"], sa.TIMESTAMP) and columns["minute"].timezone, columns
        assert isinstance(columns["views"], sa.BIGINT) and isinstance(columns["url"], sa.TEXT), columns
        assert isinstance(columns["urls"], sa.ARRAY), columns
        price = {c["name"]: c["type"] for c in sa.inspect(engine).get_columns("pageviews")}["price"]
        assert (price.precision, price.scale) == (10, 2), price
        engine.dispose()


def test_reflect_and_select(hub):
    for engine in engines(hub):
        by_url = sa.Table("by_url", sa.MetaData(), autoload_with=engine)
        views = sa.func.sum(by_url.c.views).label("views")
        query = sa.select(by_url.c.url, views).where(by_url.c.views >= 1).group_by(by_url.c.url)
        query = query.order_by(sa.desc("views")).limit(5)
        with engine.connect() as connection:
            assert [tuple(row) for row in connection.execute(query)] == [("/a", 3), ("/b", 1)]
            within = sa.select(sa.func.count()).select_from(by_url).where(by_url.c.url.in_(["/a", "/b"]))
            assert connection.scalar(within) == 3
        engine.dispose()


def test_reflect_everything(hub):
    for engine in engines(hub):
        metadata = sa.MetaData()
        metadata.reflect(engine, views=True)
        assert "by_url" in metadata.tables, list(metadata.tables)
        engine.dispose()


def test_inserts_return_and_upsert(hub):
    for engine in engines(hub):
        from sqlalchemy.dialects.postgresql import insert
        table = sa.Table("parts", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
                         sa.Column("name", sa.Text, nullable=False), sa.Column("n", sa.BigInteger))
        with engine.connect() as connection:
            connection.execute(sa.text("CREATE TABLE parts (id INT PRIMARY KEY, name TEXT NOT NULL, n BIGINT)"))
            rows = [{"id": n, "name": f"part {n}", "n": n} for n in range(3)]
            got = connection.execute(sa.insert(table).returning(table.c.id, table.c.name), rows).all()
            assert sorted(tuple(row) for row in got) == [(n, f"part {n}") for n in range(3)], got
            new = insert(table).values(id=1, name="other", n=10)
            new = new.on_conflict_do_update(index_elements=["id"], set_={"n": table.c.n + new.excluded.n})
            assert connection.execute(new.returning(table.c.n)).scalar_one() == 11
            assert connection.execute(sa.delete(table).where(table.c.id < 2).returning(table.c.id)).scalars().all() == [0, 1]
            assert connection.execute(sa.update(table).values(n=5).returning(table.c.n)).scalar_one() == 5
            connection.execute(sa.text("DROP TABLE parts"))
            connection.commit()
        engine.dispose()
