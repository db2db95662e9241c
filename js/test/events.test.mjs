// What `emit` takes and refuses, by type and by way in; queries; a module that traps or cannot be loaded.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Headwater, HeadwaterError } from '../dist/node.js';
import * as slim from '../dist/slim.js';
import { CORE, startHub } from './hub.mjs';
import { VIEWS, countAndSum, op, spec, timeOfKey } from './wire.mjs';

const ALL = {
  id: 1, name: 'views',
  fields: [
    ['b', 'boolean'], ['i2', 'smallint'], ['i4', 'integer'], ['i8', 'bigint'], ['f4', 'real'], ['f8', 'double'],
    ['n', { precision: 9, scale: 2 }], ['t', 'text'], ['bin', 'bytea'], ['id', 'uuid'], ['d', 'date'], ['ts', 'timestamptz'],
    ['span', 'interval'],
  ],
};
const count = { view: 1, version: 1, stream: 1, nodes: [], keys: [], states: [{ spec: spec.count, args: [] }] };
const byText = { view: 2, version: 1, stream: 1, nodes: [{ op: op.column(7), type: 'text' }], keys: [0], states: [{ spec: spec.count, args: [] }] };

const BY_ARRIVAL = { view: 1, version: 1, stream: 1, nodes: [{ op: op.column(2), type: 'timestamptz' }], keys: [0], states: [{ spec: spec.count, args: [] }] };

async function withClient(options, body) {
  const hub = await startHub(options.hub ?? { streams: [{ schema: ALL, plans: [count, byText] }] });
  const errors = [];
  const hw = (options.from ?? Headwater).connect({ url: hub.url, ...(options.from ? {} : { wasm: CORE }), onError: (e) => errors.push(e), ...options.client });
  try {
    await body({ hub, hw, errors });
  } finally {
    await hw.close({ timeoutMs: 500 });
    await hub.close();
  }
}

/** The first event brings the plans, so that `emit` itself answers. */
async function ready(hw) {
  hw.emit('views', {});
  await hw.flush();
}

test('every type takes what its table says and refuses the rest', () =>
  withClient({}, async ({ hub, hw }) => {
    await ready(hw);
    const good = {
      b: [true, false, null], i2: [-32768, 32767, 5n], i4: [2147483647, -2147483648], i8: [Number.MAX_SAFE_INTEGER, -(2n ** 63n)],
      f4: [0.5, Infinity, -0, 1e-45], f8: [1e308, -0], n: [1.005, '9999999.99', 3n, '-0.5', '1e3'], t: ['', 'gr\u00fc\u00dfe', hw.intern('x')],
      bin: [new Uint8Array([0, 255])], id: ['123e4567-e89b-12d3-a456-426614174000'], d: [new Date(0), '2026-11-20'],
      ts: [new Date(), 1.5, 10n, '2026-11-20T12:00:00Z', '2026-11-20 12:00'], span: [{ months: 1, days: -2, micros: 3 }, { days: 0 }],
      arrival_timestamp: [new Date()],
    };
    const types = {
      b: 'boolean', i2: 'smallint', i4: 'integer', i8: 'bigint', f4: 'real', f8: 'double precision', n: 'numeric', t: 'text',
      bin: 'bytea', id: 'uuid', d: 'date', ts: 'timestamptz', span: 'interval',
    };
    let emitted = 1;
    for (const [column, values] of Object.entries(good)) {
      for (const value of values) {
        assert.equal(hw.emit('views', { [column]: value }), undefined, `${column} ${String(value)}`);
        emitted++;
      }
    }
    const bad = [
      ['b', 1, 'wrong_type'], ['i2', 32768, 'out_of_range'], ['i2', 1.5, 'wrong_type'], ['i4', 2147483648, 'out_of_range'],
      ['i4', -2147483649, 'out_of_range'], ['i8', 2 ** 53, 'out_of_range'], ['i8', 2n ** 63n, 'out_of_range'], ['i8', NaN, 'nan'],
      ['f4', 1e39, 'out_of_range'], ['f4', -1e-50, 'out_of_range'], ['f8', NaN, 'nan'], ['f8', '1', 'wrong_type'], ['n', NaN, 'nan'], ['n', '1.2.3', 'wrong_type'],
      ['n', '10000000', 'out_of_range'], ['t', 5, 'wrong_type'], ['t', 'x'.repeat(257), 'too_long'], ['t', '\u20ac'.repeat(86), 'too_long'],
      ['bin', 'x', 'wrong_type'], ['bin', new Uint8Array(70_000), 'too_long'], ['id', 'nope', 'wrong_type'], ['d', 5, 'wrong_type'],
      ['d', 'not a day', 'wrong_type'], ['ts', NaN, 'nan'], ['ts', 'yesterday-ish', 'wrong_type'], ['ts', 2n ** 63n, 'out_of_range'],
      ['ts', new Date(NaN), 'wrong_type'], ['ts', '1', 'wrong_type'], ['ts', '290000-01-01', 'out_of_range'], ['d', '2026-02-31', 'wrong_type'],
      // All of these were an interval of nothing.
      ...[{}, [], [1], new Uint8Array(2), hw.intern('x'), new Date(), { hours: 1 }, { days: 1, hours: 1 }, { days: null }].map((value) => ['span', value, 'wrong_type']),
      ['span', 5, 'wrong_type'], ['span', '1 day', 'wrong_type'], ['nope', 1, 'unknown_column'],
    ];
    for (const [column, value, code] of bad) {
      const error = hw.emit('views', { b: true, [column]: value });
      assert.ok(error instanceof HeadwaterError, `${column} ${String(value)} must be refused`);
      assert.deepEqual([error.code, error.stream, error.column], [code, 'views', column]);
      // The message did not say what the column takes.
      const longest = code === 'too_long' ? ` of at most ${column === 't' ? 256 : 65_536} bytes` : '';
      const where = types[column] ? `views.${column} (${types[column]}${longest})` : `views.${column}`;
      assert.equal(error.message, `${code}: event for ${where} was not taken`);
    }
    await hw.flush();
    assert.equal(hub.viewEvents(1), emitted);
    const { dropped } = hw.stats();
    assert.equal(Object.values(dropped).reduce((a, b) => a + b), bad.length);
  }));

test('bad events in the buffer are counted and reported once the plans are there', () =>
  withClient({}, async ({ hub, hw, errors }) => {
    assert.equal(hw.emit('views', { nope: 1 }), undefined);
    assert.equal(hw.emit('views', { t: 'good' }), undefined);
    hw.stream('views').columns({ f8: [1, NaN, 3] });
    // `emit` took them: its caller could not know.
    await assert.rejects(hw.flush(), { code: 'lost', dropped: 2, inDoubt: 0 });
    assert.deepEqual(errors.map((e) => e.code), ['unknown_column', 'nan']);
    assert.equal(hub.events(), 3);
    await hw.flush();
  }));

test('an arrival time that is null is now, by every way in', () =>
  withClient({ hub: { streams: [{ schema: VIEWS, plans: [BY_ARRIVAL] }] } }, async ({ hub, hw, errors }) => {
    const stream = hw.stream('views');
    const start = Date.now();
    for (const way of ['buffered', 'taken']) {
      stream.emit({ url: way, arrival_timestamp: null });
      stream.writer('url', 'arrival_timestamp').emit(way, null);
      stream.writer('url', 'arrival_timestamp').emit(way, undefined);
      stream.columns({ url: [way, way], arrival_timestamp: [null, new Date(start)] });
      await hw.flush();
    }
    const keys = [...hub.batches.values()].flatMap(({ report }) => report.sections.flatMap((section) => section.keys));
    const times = keys.map(timeOfKey);
    assert.ok(times.every((time) => Math.abs(time - start) < 60_000), `${times}`);
    assert.deepEqual([hub.viewEvents(1), errors], [10, []]);
  }));

test('a Date in the buffer counts as it was when it was emitted', () =>
  withClient({ hub: { streams: [{ schema: VIEWS, plans: [BY_ARRIVAL] }] } }, async ({ hub, hw }) => {
    const [start, at] = [Date.now(), new Date()];
    hw.emit('views', { url: '/', arrival_timestamp: at });
    hw.stream('views').columns({ url: ['/'], arrival_timestamp: [at] });
    at.setTime(start - 86_400_000);
    await hw.flush();
    const keys = [...hub.batches.values()].flatMap(({ report }) => report.sections.flatMap((section) => section.keys));
    const times = keys.map(timeOfKey);
    assert.ok(times.length > 0 && times.every((time) => Math.abs(time - start) < 60_000), `${times}`);
    assert.equal(hub.viewEvents(1), 2);
  }));

test('an event object may change after emit, and may be hostile', () =>
  withClient({}, async ({ hub, hw }) => {
    const event = { t: 'before' };
    hw.emit('views', event);
    event.t = 5;
    const hostile = { get t() { throw new Error('mine'); } };
    assert.equal(hw.emit('views', hostile)?.code, 'wrong_type');
    const cyclic = {};
    cyclic.t = cyclic;
    hw.emit('views', cyclic);
    await assert.rejects(hw.flush(), { code: 'lost', dropped: 1 });
    assert.equal(hub.events(), 1);
    assert.equal(hw.emit('views', hostile)?.code, 'wrong_type');
  }));

test('what is not an object of columns is refused and counted, and nothing else is hurt', () =>
  withClient({ hub: {} }, async ({ hub, hw, errors }) => {
    class Visit {
      url = '/';
    }
    const bad = [null, undefined, [], ['/'], '/', 5, true, () => {}, new Date(), new Map(), new Set(['a']), new Uint8Array(2), Promise.resolve({})];
    for (const known of [false, true]) {
      for (const event of bad) assert.equal(hw.emit('views', event)?.code, 'not_a_row', String(event));
      for (const name of [undefined, '']) assert.equal(hw.emit(name, {})?.code, 'unknown_stream');
      assert.equal(hw.stream('views').columns(null)?.code, 'not_a_row');
      assert.equal(hw.stream('views').columns([1, 2])?.code, 'not_a_row');
      for (const column of [null, undefined, 5, 'text', {}]) assert.equal(hw.stream('views').columns({ ms: [1, 2], url: column })?.code, 'wrong_type');
      assert.equal(hw.stream('views').columns({}), undefined);
      for (const event of [{}, new Visit(), Object.create(null)]) assert.equal(hw.emit('views', event), undefined);
      await hw.flush();
      assert.equal(hub.events(), known ? 6 : 3);
    }
    assert.deepEqual(hw.stats().dropped, { not_a_row: 30, unknown_stream: 4, wrong_type: 20 });
    assert.deepEqual([hw.stats().emitted, hub.dropped()], [60, { invalid: 50, closed: 4 }]);
    assert.equal(errors.length, 2 * (bad.length + 4 + 5));
  }));

test('columns and writers give the same batches as emit, in both modules', async () => {
  const payloads = [];
  const at = new Date(1_700_000_000_000);
  const rows = Array.from({ length: 3000 }, (_, i) => ({ url: `/${i % 13}`, ms: i / 8 }));
  // The full module finds groups by the numbers of strings, the core module by their bytes.
  for (const [way, wasm] of ['emit', 'writer', 'columns', 'ids'].flatMap((way) => [[way, CORE], [way, undefined]])) {
    await withClient({ hub: {}, client: { wasm } }, async ({ hub, hw }) => {
      const stream = hw.stream('views');
      stream.emit({});
      await hw.flush();
      if (way === 'emit') for (const row of rows) stream.emit({ ...row, arrival_timestamp: at });
      const writer = stream.writer('ms', 'arrival_timestamp', 'url');
      if (way === 'writer') for (const row of rows) writer.emit(row.ms, at, stream.intern(row.url));
      const ms = Float64Array.from(rows, (row) => row.ms);
      const times = rows.map(() => at);
      if (way === 'columns') stream.columns({ url: rows.map((row) => row.url), ms, arrival_timestamp: times });
      if (way === 'ids') stream.columns({ url: Uint32Array.from(rows, (row) => stream.intern(row.url).id), ms, arrival_timestamp: times });
      await hw.flush();
      payloads.push([...hub.batches.values()].slice(1).map((b) => Buffer.from(b.payload).toString('hex')).join());
      assert.equal(hub.viewEvents(1), 3001, way);
    });
  }
  assert.equal(new Set(payloads).size, 1);
});

test('columns leave out bad rows only', () =>
  withClient({ hub: {} }, async ({ hub, hw, errors }) => {
    const stream = hw.stream('views');
    stream.emit({});
    await hw.flush();
    const ms = Float64Array.from({ length: 2500 }, (_, i) => (i % 1000 === 7 ? NaN : i));
    assert.equal(stream.columns({ ms })?.code, 'nan');
    assert.equal(stream.columns({ url: Uint32Array.of(99) })?.code, 'wrong_type');
    const unequal = stream.columns({ url: ['a'], ms: [1, 2] });
    assert.deepEqual([unequal?.code, unequal?.message], ['wrong_type', 'wrong_type: event for views (columns of one length) was not taken']);
    assert.equal(stream.columns({ nope: [1, 2] })?.code, 'unknown_column');
    assert.equal(stream.columns({ url: ['a', null, 'b'], ms: [null, undefined, 1] }), undefined);
    await hw.flush();
    assert.equal(hub.viewEvents(1), 1 + 2497 + 3);
    assert.deepEqual(hw.stats().dropped, { nan: 3, wrong_type: 3, unknown_column: 2 });
    assert.equal(errors.length, 3 + 1 + 1 + 2);
  }));

for (const [flavor, wasm] of Object.entries({ core: CORE, full: undefined })) {
  test(`${flavor}: strings that come and go do not grow memory for ever, and keep their groups`, () =>
    withClient({ hub: {}, client: { wasm } }, async ({ hub, hw }) => {
      const stream = hw.stream('views');
      stream.emit({});
      await hw.flush();
      const url = (i) => `/${i % 100}/${'x'.repeat(i % 50)}${i}`.slice(0, 8);
      for (let i = 0; i < 60_000; i++) stream.emit({ url: url(i), ms: 1 });
      await hw.flush();
      assert.equal(hub.viewEvents(1), 60_001);
      const keys = [...hub.batches.values()].flatMap(({ report }) => report.sections.flatMap((section) => section.keys));
      const want = new Set(Array.from({ length: 60_000 }, (_, i) => url(i)));
      assert.deepEqual(new Set(keys.map((key) => Buffer.from(key.subarray(0, -1)).toString()).filter(Boolean)), want);
    }));
}

test('queries give typed rows and the hub\'s errors', () =>
  withClient({ client: { token: 'key' } }, async ({ hub, hw }) => {
    hub.onSql = () => ({
      body: {
        columns: [['n', 'bigint'], ['big', 'bigint'], ['x', 'double precision'], ['at', 'timestamptz'], ['d', 'numeric(9,2)'], ['z', 'text']].map(([name, type]) => ({ name, type })),
        rows: [[3, '9007199254740993', 'NaN', '2026-11-20T12:00:00Z', '1.50', null]],
        tag: 'SELECT 1',
      },
    });
    const rows = await hw.query('SELECT 1');
    assert.deepEqual(rows, [{ n: 3, big: 9007199254740993n, x: NaN, at: new Date('2026-11-20T12:00:00Z'), d: '1.50', z: null }]);
    assert.deepEqual(rows.columns.map((c) => c.name), ['n', 'big', 'x', 'at', 'd', 'z']);
    assert.deepEqual(JSON.parse(hub.sql[0].body), { sql: 'SELECT 1' });
    assert.equal(hub.sql[0].headers.authorization, 'Bearer key');
    hub.onSql = () => ({ status: 404, body: { error: { code: '42P01', message: 'no such view', position: 15, hint: 'by_url?' } } });
    await assert.rejects(hw.query('SELECT * FROM nope'), { code: '42P01', position: 15, hint: 'by_url?' });
    hub.onSql = () => ({ status: 400, body: { error: { code: '0A000', message: 'not so', position: null, hint: null } } });
    await assert.rejects(hw.query('SELECT 1'), { code: '0A000', position: undefined, hint: undefined });
    hub.onSql = () => ({ body: { columns: [], rows: [], error: { code: '57014', message: 'too slow' } } });
    await assert.rejects(hw.query('SELECT 1'), { code: '57014' });
    hub.onSql = () => ({ status: 502, body: 'nginx' });
    await assert.rejects(hw.query('SELECT 1'), { code: 'unreachable' });
  }));

test('a page that blocks WASM keeps running, and every event is counted', () =>
  withClient({ from: slim.Headwater }, async ({ hw, errors }) => {
    hw.emit('views', {});
    await assert.rejects(hw.flush(), { code: 'wasm_unavailable' });
    assert.equal(hw.emit('views', {})?.code, 'wasm_unavailable');
    assert.deepEqual(hw.stats().dropped, { wasm_unavailable: 2 });
    assert.equal(errors[0].code, 'wasm_unavailable');
  }));

test('slim takes bytes, a compiled module, a Response or a function', async () => {
  const { readFile } = await import('node:fs/promises');
  const bytes = await readFile(new URL('../dist/headwater_core.wasm', import.meta.url));
  const sources = [bytes, new WebAssembly.Module(bytes), new Response(bytes, { headers: { 'content-type': 'application/wasm' } }), () => bytes, async () => bytes];
  for (const core of sources) {
    await withClient({ from: slim.Headwater, hub: {}, client: { wasm: { core } } }, async ({ hub, hw }) => {
      hw.emit('views', { url: '/', ms: 1 });
      await hw.flush();
      assert.equal(hub.events(), 1);
    });
  }
});

// Prevents: the number that another client gave a string was taken for one of this client's.
test('an interned string means the same to every client', () =>
  withClient({ hub: {} }, ({ hw: other }) =>
    withClient({ hub: {} }, async ({ hub, hw }) => {
      hw.emit('views', { url: hw.intern('mine') });
      await hw.flush();
      for (const url of ['theirs', 'and more', 'mine']) hw.emit('views', { url: other.intern(url) });
      hw.stream('views').columns({ url: [other.intern('theirs')] });
      await hw.flush();
      const keys = [...hub.batches.values()].flatMap(({ report }) => report.sections.flatMap((section) => section.keys));
      assert.deepEqual(keys.map((key) => Buffer.from(key.subarray(0, -1)).toString()).sort(), ['and more', 'mine', 'mine', 'theirs']);
    })));

// Prevents: names were split where they had a NUL, and values went into columns beside theirs.
for (const [flavor, wasm] of Object.entries({ core: CORE, full: undefined })) {
  test(`${flavor}: a NUL in a name moves no column and no stream`, async () => {
    const odd = { schema: { id: 2, name: 'o\0\0dd', fields: [['x\0y', 'text'], ['\0\0', 'double']] }, plans: [{ ...countAndSum(2), stream: 2 }] };
    await withClient({ hub: { streams: [odd, { schema: VIEWS, plans: [countAndSum()] }] }, client: { wasm, streams: ['o\0\0dd', 'views'] } }, async ({ hub, hw, errors }) => {
      hw.emit('views', { url: 'usual', ms: 1 });
      hw.emit('o\0\0dd', { 'x\0y': 'strange', '\0\0': 2 });
      await hw.flush();
      const keys = [...hub.batches.values()].flatMap(({ report }) => report.sections.map(({ view, keys }) => [view, Buffer.from(keys[0].subarray(0, -1)).toString()]));
      assert.deepEqual([keys.sort(), errors], [[[1, 'usual'], [2, 'strange']], []]);
    });
  });
}

test('several clients share the module', async () => {
  await withClient({ hub: {} }, ({ hub: a, hw: x }) =>
    withClient({ hub: { streams: [{ schema: VIEWS, plans: [] }] } }, async ({ hub: b, hw: y }) => {
      for (let i = 0; i < 10; i++) (i % 2 ? x : y).emit('views', { url: `${i}` });
      await Promise.all([x.flush(), y.flush()]);
      assert.deepEqual([a.events(), b.events()], [5, 5]);
    }));
});
