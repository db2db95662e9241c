// The golden vectors that Rust writes, through the JavaScript codec of these tests and through the WASM module.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';
import { Headwater } from '../dist/slim.js';
import { engine } from './engine.mjs';
import { CORE, startHub } from './hub.mjs';
import * as wire from './wire.mjs';

const read = async (name) => wire.vectors(await readFile(new URL(`../../tests/vectors/${name}`, import.meta.url), 'utf8'));
const frames = await read('frames.txt');
const batches = await read('batches.txt');
const keys = await read('keys.txt');

test('frames have the bytes that Rust writes', () => {
  const pid = '018bcfe5687b07070707070707070707';
  assert.equal(wire.hex(wire.ack({ pid, seq: 300, level: 2, epoch: 4 })), wire.hex(frames.get('ack')));
  assert.equal(wire.hex(wire.refused({ pid, seq: 300, code: 'throttled', message: 'over quota', retryAfterMs: 1500 })), wire.hex(frames.get('refused')));
  assert.equal(wire.hex(wire.resumed({ pid, floor: 301, bitmap: 5n, level: 1 })), wire.hex(frames.get('resumed')));
});

test('frames read as Rust meant them', () => {
  const hello = wire.readFrame(frames.get('hello'));
  assert.equal(hello.kind, wire.KIND.hello);
  assert.deepEqual(wire.readHello(hello.body), {
    versions: [1], token: 'secret', streams: ['pageviews'], sdk: 'headwater-rust/0.1.0', capabilities: 1,
  });
  const batch = wire.readBatch(wire.readFrame(frames.get('batch')).body);
  assert.deepEqual([batch.seq, batch.lowWater, batch.level], [100, 99, 1]);
  assert.deepEqual(wire.readPayload(batch.payload).sections.map((s) => s.keys.map((k) => Buffer.from(k).toString())), [['a', 'b']]);
  const resume = wire.readResume(wire.readFrame(frames.get('resume')).body);
  assert.deepEqual(resume, { pid: '018bcfe5687b07070707070707070707', lowWater: 300 });
});

test('payloads read as Rust meant them', () => {
  const full = wire.readPayload(batches.get('full'));
  assert.equal(full.events, 61);
  assert.deepEqual(full.dropped, [[1, 1], [3, 300]]);
  assert.equal(full.inDoubt, 2);
  assert.deepEqual(full.sections.map((s) => [s.view, s.version, s.events, s.rejected, s.keys.length]), [[9, 1, 60, [[18, 5]], 6], [300, 1, 10, [], 1]]);
  assert.deepEqual(full.sections[0].keys.map((k) => wire.hex(k)), ['', '6162', '616263', '616264', '62', 'fe']);
  assert.equal(wire.readPayload(batches.get('no_group')).sections.length, 0);
  for (let end = 0; end < batches.get('full').length; end++) {
    assert.throws(() => wire.readPayload(batches.get('full').subarray(0, end)));
  }
});

// All 17 digits of a number counted, where the native client takes 15.
test('numbers are the numerics that Rust makes of them', async () => {
  const entryPoints = [fileURLToPath(new URL('../src/column.ts', import.meta.url))];
  const [{ text }] = buildSync({ entryPoints, bundle: true, format: 'esm', write: false }).outputFiles;
  const { decimalUnits } = await import(`data:text/javascript;base64,${Buffer.from(text).toString('base64')}`);
  const lines = (await readFile(new URL('../../tests/vectors/numerics.txt', import.meta.url), 'utf8')).trim().split('\n');
  for (const [number, scale, units] of lines.filter((line) => !line.startsWith('#')).map((line) => line.split('\t'))) {
    assert.equal(decimalUnits(Number(number), Number(scale)), BigInt(units), number);
  }
  assert.equal(decimalUnits(Number.MAX_SAFE_INTEGER, 1), 90071992547409910n);
  assert.equal(decimalUnits('0.30000000000000004', 17), 30000000000000004n);
});

const EVENTS = { id: 1, name: 'events', fields: [['c', 'text']] };
const FULL = { full: () => readFile(new URL('../dist/headwater_full.wasm', import.meta.url)) };
const bytes = (hex) => Uint8Array.from(Buffer.from(hex, 'hex'));

/** Names, plans and payloads of `events.txt`. */
async function eventVectors() {
  const text = await readFile(new URL('../../tests/vectors/events.txt', import.meta.url), 'utf8');
  return text.trim().split('\n').filter((line) => !line.startsWith('#')).map((line) => line.split('\t'));
}

/** Sends one event through plans and holds what a module makes of it to what Rust makes of it. */
async function holds(lines, wasm) {
  const hub = await startHub({ streams: [{ schema: EVENTS, plans: lines.map(([, plan]) => bytes(plan)) }] });
  const errors = [];
  const hw = Headwater.connect({ url: hub.url, wasm, onError: (error) => errors.push(error) });
  hw.emit('events', {});
  try {
    await hw.flush();
  } finally {
    await hw.close();
    await hub.close();
  }
  assert.deepEqual(errors, []);
  const made = new Map([...hub.batches.values()].flatMap(({ report }) => report.sections).map((section) => [section.view, section]));
  for (const [name, , payload] of lines) {
    const { events, sections } = wire.readPayload(bytes(payload));
    assert.equal(events, 1);
    for (const section of sections) assert.deepEqual(made.get(section.view), section, name);
    if (name.startsWith('key ')) assert.equal(wire.hex(sections[0].keys[0]), wire.hex(keys.get(name.slice(4))), name);
  }
  assert.equal(made.size, lines.length);
}

test('the WASM module makes of an event what Rust makes of it: every expression and every key', async () => {
  const lines = await eventVectors();
  await holds(lines, FULL);
  assert.equal(lines.filter(([name]) => name.startsWith('key ')).length, keys.size);
});

test('the core module makes the same of what it does not leave to the full one', async () => {
  const lines = [];
  for (const line of await eventVectors()) {
    const core = await engine('core');
    core.frames(wire.welcome({ streams: [{ schema: EVENTS, plans: [bytes(line[1])] }] }));
    const events = [core.event(), core.event(), core.event()];
    assert.equal(events.includes('plans'), !events.includes('needs_full'), line[0]);
    if (events.includes('plans')) lines.push(line);
  }
  // Each comes with its operands: comparisons, logic, arithmetic, casts of numbers, truncated times.
  assert.ok(lines.length > 300, `${lines.length}`);
  await holds(lines, CORE);
});

/** A value as `emit` takes it, from what `sdk/tests/laws/vectors.rs` wrote. */
function value(type, written) {
  if (written === null || typeof written !== 'string') return written;
  if (type.scale !== undefined) return `${written}e-${type.scale}`;
  if (type === 'text') return written;
  return type === 'double' || type === 'real' ? Number(written) : BigInt(written);
}

test('the WASM module makes of events the states that Rust makes of them', async () => {
  const text = await readFile(new URL('../../tests/vectors/state_events.txt', import.meta.url), 'utf8');
  const states = await read('states.txt');
  const cases = text.trim().split('\n').filter((line) => !line.startsWith('#')).map((line) => line.split('\t')).map(([name, plan, types, rows]) => {
    const bytes = Uint8Array.from(Buffer.from(plan, 'hex'));
    return { name, plan: bytes, id: new wire.Reader(bytes).varint(), types: JSON.parse(types), rows: JSON.parse(rows) };
  });
  const streams = cases.map(({ name, plan, id, types }) => ({ schema: { id, name, fields: types.map((type, i) => [`c${i}`, type]) }, plans: [plan] }));
  const hub = await startHub({ streams });
  const errors = [];
  const hw = Headwater.connect({ url: hub.url, wasm: FULL, onError: (error) => errors.push(error.message) });
  for (const { name, types, rows } of cases) {
    for (const row of rows) hw.emit(name, Object.fromEntries(row.map((written, i) => [`c${i}`, value(types[i], written)])));
  }
  await hw.flush();
  await hw.close();
  await hub.close();
  assert.deepEqual(errors, []);
  const made = new Map([...hub.batches.values()].flatMap(({ report }) => report.sections).map((section) => [section.view, section.states]));
  for (const { name, id, rows } of cases) {
    if (rows.length) assert.equal(wire.hex(made.get(id)), wire.hex(states.get(name)), name);
  }
});
