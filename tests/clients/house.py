"""A hub on free ports with known events in it, and the tests' runner.

A test is a function `test_*` of a module of this folder; it gets the hub and fails by raising.
"""

import inspect
import os
import subprocess
import tempfile
import traceback

STREAM = """CREATE STREAM pageviews (url TEXT, user_id BIGINT, latency_ms DOUBLE PRECISION, price NUMERIC(10,2),
            ok BOOLEAN, id UUID, day DATE, small SMALLINT, n INTEGER)"""
BY_URL = """CREATE CONTINUOUS VIEW by_url AS
            SELECT date_trunc('minute', arrival_timestamp) AS minute, url, count(*) AS views, sum(price) AS revenue,
                   count(DISTINCT user_id) AS users, avg(latency_ms) AS mean, max(day) AS newest, max(n) AS n,
                   bool_and(ok) AS fine, set_agg(url) AS urls, min(id::text) AS id
            FROM pageviews GROUP BY minute, url"""
EVENTS = """arrival_timestamp,url,user_id,latency_ms,price,ok,id,day,small,n
2024-01-01T00:00:10Z,/a,1,10.5,1.50,true,00010203-0405-0607-0809-0a0b0c0d0e0f,2024-01-01,1,10
2024-01-01T00:00:20Z,/a,2,20.5,2.25,true,00010203-0405-0607-0809-0a0b0c0d0e0f,2024-02-01,2,20
2024-01-01T00:00:50Z,/b,1,1.0,0.10,false,,2024-01-01,3,5
2024-01-01T00:01:00Z,/a,1,2.0,100.00,true,,,4,
"""


class Hub:
    """A running hub; `host` and `port` speak the PostgreSQL protocol."""

    def __init__(self, program, *flags):
        self.program = program
        self.dir = tempfile.TemporaryDirectory()
        command = [program, "serve", "--data-dir", os.path.join(self.dir.name, "data"), "--listen", "127.0.0.1:0"]
        env = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
        self.process = subprocess.Popen([*command, *flags], stdout=subprocess.PIPE, text=True, env=env)
        for line in self.process.stdout:
            name, _, value = line.strip().partition(" ")
            value = value.strip()
            if name == "quic":
                self.quic = value
            if name == "postgresql":
                self.host, port = value.rsplit(":", 1)
                self.port = int(port)
            if name == "fingerprint":
                self.fingerprint = value
                break
        else:
            raise RuntimeError("the hub ended before it was ready")

    def load(self, stream, csv):
        path = os.path.join(self.dir.name, "events.csv")
        with open(path, "w", encoding="utf-8") as file:
            file.write(csv)
        env = {**os.environ, "HEADWATER_HUB": self.quic, "HEADWATER_FINGERPRINT": self.fingerprint,
               "XDG_STATE_HOME": self.dir.name}
        subprocess.run([self.program, "load", "--stream", stream, path], check=True, env=env,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        self.dir.cleanup()


def run(module, hub):
    """Runs the module's tests; how many passed and failed."""
    passed = failed = 0
    for name, test in inspect.getmembers(module, inspect.isfunction):
        if not name.startswith("test_"):
            continue
        try:
            test(hub)
            passed += 1
            print(f"ok   {module.__name__}.{name}", flush=True)
        except Exception:
            failed += 1
            print(f"FAIL {module.__name__}.{name}", flush=True)
            traceback.print_exc()
    return passed, failed
