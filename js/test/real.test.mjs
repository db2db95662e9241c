// End to end against a real hub: SQL in, events in, answers out; the hub dies in between.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Headwater } from '../dist/node.js';
import { CORE } from './hub.mjs';
import { skip, startRealHub } from './real.mjs';

let hub;
before(async () => {
  if (skip) return console.error(skip);
  hub = await startRealHub();
});
after(() => hub?.close());

const connect = (options) => Headwater.connect({ url: hub.url, ...options });

test('views answer exactly what was emitted', { skip }, async () => {
  const errors = [];
  const hw = connect({ onError: (error) => errors.push(error) });
  await hw.query('CREATE STREAM pageviews (url TEXT, user_id TEXT, latency_ms DOUBLE PRECISION, bytes BIGINT)');
  await hw.query(`CREATE CONTINUOUS VIEW by_url AS SELECT url, count(*) AS n, sum(latency_ms) AS total, avg(latency_ms) AS mean,
    min(bytes) AS least, max(bytes) AS most, count(DISTINCT user_id) AS users, percentile_cont(0.5) WITHIN GROUP (ORDER BY latency_ms) AS p50
    FROM pageviews WHERE latency_ms < 900 GROUP BY url`);
  const expected = new Map();
  for (let i = 0; i < 20_000; i++) {
    if (i % 5000 === 4999) await hw.flush(); // the buffer holds 10,000, and most should meet the module
    const event = { url: `/${i % 17}`, user_id: `u${i % 500}`, latency_ms: (i * 7) % 1000, bytes: i };
    assert.equal(hw.emit('pageviews', event), undefined);
    if (event.latency_ms >= 900) continue;
    const row = expected.get(event.url) ?? { n: 0, total: 0, users: new Set(), values: [], least: Infinity, most: -Infinity };
    expected.set(event.url, row);
    row.n++;
    row.total += event.latency_ms;
    row.users.add(event.user_id);
    row.values.push(event.latency_ms);
    row.least = Math.min(row.least, i);
    row.most = Math.max(row.most, i);
  }
  await hw.flush();
  const rows = await hw.query('SELECT * FROM by_url ORDER BY url');
  assert.equal(rows.length, 17);
  for (const row of rows) {
    const e = expected.get(row.url);
    assert.deepEqual([row.n, row.total, row.mean, row.least, row.most], [e.n, e.total, e.total / e.n, e.least, e.most]);
    assert.ok(Math.abs(row.users - e.users.size) <= 0.05 * e.users.size, `${row.users} users for ${e.users.size}`);
    const p50 = e.values.sort((a, b) => a - b)[e.values.length >> 1];
    assert.ok(Math.abs(row.p50 - p50) <= 0.03 * p50 + 8, `${row.p50} for ${p50}`);
  }
  assert.deepEqual(errors, []);
  const stats = await hw.close();
  assert.equal(stats.delivered, 20_000);
});

test('a view made later, with functions of the full module, is fed over the air', { skip }, async () => {
  const hw = connect({ wasm: CORE });
  await hw.query('CREATE STREAM clicks (tag TEXT)');
  await hw.query('CREATE CONTINUOUS VIEW clicks_all AS SELECT count(*) AS n FROM clicks');
  hw.emit('clicks', { tag: 'First' });
  await hw.flush();
  assert.equal(hw.stats().module, 'core');
  await hw.query('CREATE CONTINUOUS VIEW clicks_by AS SELECT lower(tag) AS tag, count(*) AS n FROM clicks GROUP BY lower(tag)');
  let emitted = 1;
  const start = performance.now();
  while (hw.stats().module !== 'full') {
    assert.ok(performance.now() - start < 30_000, 'the full module is never there');
    hw.emit('clicks', { tag: 'Loading' });
    emitted++;
    await hw.flush();
  }
  for (let i = 0; i < 10; i++) hw.emit('clicks', { tag: 'MiXeD' });
  await hw.flush();
  assert.deepEqual([...(await hw.query("SELECT n FROM clicks_by WHERE tag = 'mixed'"))], [{ n: 10 }]);
  assert.deepEqual([...(await hw.query('SELECT n FROM clicks_all'))], [{ n: emitted + 10 }]);
  await hw.close();
});

test('kill -9 of the hub loses and repeats nothing', { skip }, async () => {
  const errors = [];
  const hw = connect({ flushIntervalMs: 10, onError: (error) => errors.push(error.code) });
  await hw.query('CREATE STREAM ticks (k INTEGER)');
  await hw.query('CREATE CONTINUOUS VIEW ticks_by AS SELECT k, count(*) AS n FROM ticks GROUP BY k');
  let emitted = 0;
  for (let round = 0; round < 3; round++) {
    const end = performance.now() + 250;
    while (performance.now() < end) {
      for (let i = 0; i < 50; i++) hw.emit('ticks', { k: emitted++ % 10 });
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    await hub.kill();
    for (let i = 0; i < 100; i++) hw.emit('ticks', { k: emitted++ % 10 });
    await hub.restart();
  }
  await hw.flush('durable', { timeoutMs: 30_000 }).catch((error) => assert.fail(`${error.message} ${errors} ${JSON.stringify(hw.stats())}`));
  const [{ n }] = await hw.query('SELECT sum(n) AS n FROM ticks_by');
  assert.equal(Number(n), emitted);
  const stats = await hw.close();
  assert.deepEqual([stats.delivered, stats.dropped, stats.inDoubt], [emitted, {}, 0]);
});

test('the ledger holds at the hub: generated = applied + dropped', { skip }, async (t) => {
  const before = await ledger();
  const hw = connect();
  t.after(() => hw.close());
  await hw.query('CREATE STREAM visits (url TEXT, ms DOUBLE PRECISION)');
  await hw.query('CREATE CONTINUOUS VIEW visits_by AS SELECT url, count(*) AS n FROM visits GROUP BY url');
  hw.emit('visits', { url: '/early', wrong: 1 });
  hw.emit('visits', { url: '/', ms: 1 });
  await assert.rejects(hw.flush(), { code: 'lost', dropped: 1 });
  const bad = [{ wrong: 1 }, { url: 5 }, { ms: NaN }, { url: 'x'.repeat(2000) }, null, undefined, [1], 'text', 7, new Date(), Promise.resolve()];
  const codes = bad.map((event) => hw.emit('visits', event)?.code);
  assert.deepEqual(codes, ['unknown_column', 'wrong_type', 'nan', 'too_long', ...Array(7).fill('not_a_row')]);
  hw.stream('visits').columns({ url: ['/', '/'], ms: [NaN, 2] });
  await hw.flush();
  const { emitted, delivered } = hw.stats();
  const now = await ledger();
  assert.equal(delivered, 2);
  assert.deepEqual([now.applied - before.applied, now.invalid - before.invalid], [2, 13]);
  assert.equal(now.applied - before.applied + now.dropped - before.dropped, emitted);
});

/** The sums of the hub's own books. */
async function ledger() {
  const lines = (await (await fetch(`${hub.url}/metrics`)).text()).split('\n');
  const sum = (pattern) => lines.filter((line) => pattern.test(line)).reduce((total, line) => total + Number(line.split(' ').at(-1)), 0);
  return {
    applied: sum(/^headwater_events_applied_total/), dropped: sum(/^headwater_events_dropped_total/),
    invalid: sum(/^headwater_events_dropped_total\{.*"invalid"/),
  };
}

test('a stream that is not there is named at once, and can be made a moment later', { skip }, async (t) => {
  const errors = [];
  const hw = connect({ onError: (error) => errors.push(error) });
  t.after(() => hw.close());
  hw.emit('later', { k: 1 });
  await assert.rejects(hw.flush(), { code: 'unknown_stream', stream: 'later', message: /no such stream: later/ });
  assert.deepEqual(errors.map((e) => e.code), ['unknown_stream']);
  await hw.query('CREATE STREAM later (k INTEGER)');
  await hw.flush();
  const { delivered, dropped } = hw.stats();
  assert.deepEqual([delivered, dropped], [1, {}]);
});

test('every type comes back as the documentation of query says', { skip }, async (t) => {
  const hw = connect();
  t.after(() => hw.close());
  const columns = {
    f: 'BOOLEAN', s: 'SMALLINT', i: 'INTEGER', b: 'BIGINT', r: 'REAL', x: 'DOUBLE PRECISION', n: 'NUMERIC(9,2)', t: 'TEXT', bin: 'BYTEA',
    id: 'UUID', d: 'DATE', at: 'TIMESTAMPTZ', span: 'INTERVAL',
  };
  const bytes = new Uint8Array([0, 15, 255]);
  const event = {
    f: true, s: -5, i: 7, b: 2n ** 53n + 1n, r: 0.5, x: 2.25, n: '1.50', t: 'gr\u00fcn', bin: bytes,
    id: '123e4567-e89b-12d3-a456-426614174000', d: '2026-11-20', at: 1_700_000_000_000_001n, span: { months: 1, days: 2, micros: 3_500_000 },
  };
  const at = new Date(1_700_000_000_000);
  const read = { ...event, at, span: '1 mon 2 days 00:00:03.5' };
  await hw.query(`CREATE STREAM kinds (${Object.entries(columns).map(([name, type]) => `${name} ${type}`)})`);
  const names = Object.keys(columns);
  await hw.query(`CREATE CONTINUOUS VIEW kinds_by AS SELECT ${names}, count(*) AS events FROM kinds GROUP BY ${names}`);
  const sets = names.filter((name) => name !== 'f').map((name) => `set_agg(${name}) AS ${name}`);
  await hw.query(`CREATE CONTINUOUS VIEW kinds_sets AS SELECT ${sets}, percentile_cont(ARRAY[0, 0.5]) WITHIN GROUP (ORDER BY x) AS p,
    topk_agg(b, 2) AS wide, topk_agg(x, 2) AS doubles, topk_agg(n, 2) AS numbers FROM kinds`);
  assert.equal(hw.emit('kinds', event), undefined);
  await hw.flush();
  assert.deepEqual(await hw.query('SELECT * FROM kinds_by'), [{ ...read, events: 1 }]);
  const [{ p, wide, doubles, numbers, ...rest }] = await hw.query('SELECT * FROM kinds_sets');
  const { f, ...each } = read;
  assert.deepEqual(rest, Object.fromEntries(Object.entries(each).map(([name, value]) => [name, [value]])));
  assert.ok(p.length === 2 && p.every((value) => Math.abs(value - 2.25) < 0.1), `${p}`);
  assert.deepEqual([wide, doubles, numbers], [[{ value: event.b, count: 1 }], [{ value: 2.25, count: 1 }], [{ value: '1.50', count: 1 }]]);
  const [{ micros, ...odd }] = await hw.query("SELECT 'NaN'::float8 AS nan, '-Infinity'::float8 AS least, NULL AS nothing, ARRAY['NaN'::float8, NULL] AS some, at::text AS micros FROM kinds_by");
  assert.deepEqual(odd, { nan: NaN, least: -Infinity, nothing: null, some: [NaN, null] });
  assert.match(micros, /^2023-11-14.22:13:20\.000001/);
});

test('SQL errors have a code, a position and a hint', { skip }, async () => {
  const hw = connect();
  await assert.rejects(hw.query('SELEC 1'), (error) => /^42/.test(error.code) && error.position >= 1);
  await assert.rejects(hw.query('SELECT * FROM nothing_here'), { code: '42P01' });
  await hw.close();
});
