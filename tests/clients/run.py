"""Runs every client's tests against a hub: `run.py PROGRAM`, the `headwater` program."""

import sys

import house
import with_asyncpg
import with_datasketches
import with_psycopg
import with_psycopg2
import with_sqlalchemy


def main(program):
    hub = house.Hub(program)
    try:
        with_psycopg.define(hub)
        hub.load("pageviews", house.EVENTS)
        modules = (with_psycopg, with_psycopg2, with_asyncpg, with_sqlalchemy, with_datasketches)
        results = [house.run(module, hub) for module in modules]
    finally:
        hub.stop()
    passed, failed = (sum(column) for column in zip(*results))
    print(f"# pass {passed}\n# fail {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
