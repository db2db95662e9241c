// The core module takes one general way where the full one has several fast ones: both must write the same bytes.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { Headwater } from '../dist/slim.js';
import { startHub } from './hub.mjs';
import { hex, op, spec } from './wire.mjs';

const SCHEMA = { id: 1, name: 'views', fields: [['url', 'text'], ['ms', 'double'], ['n', 'bigint'], ['who', 'text'], ['at', 'timestamptz']] };
const nodes = [
  ...SCHEMA.fields.map(([, type], index) => ({ op: op.column(index), type })),
  { op: op.text('hour'), type: 'text' },
  { op: op.dateTrunc(5, 4), type: 'timestamptz' },
  { op: op.greater(1, 7), type: 'boolean' },
];
nodes.splice(7, 0, { op: (w) => w.varint(1).varint(3).raw(Buffer.from(new Float64Array([0.5]).buffer)), type: 'double' });
const extreme = (tag, type) => (w) => w.varint(tag).varint(type);
const states = [
  { spec: spec.count, args: [] },
  { spec: spec.sum('double'), args: [1] },
  { spec: spec.sum('bigint'), args: [2] },
  { spec: extreme(2, 7), args: [3] },
  { spec: extreme(3, 5), args: [1] },
  { spec: spec.hll('text', 8), args: [3] },
  { spec: spec.hll('bigint', 12), args: [2] },
  { spec: spec.ddsketch(10_000), args: [1] },
  { spec: spec.count, args: [], filter: 8 },
];
const plan = (view, keys, groupsMax) => ({ view, version: 1, stream: 1, nodes, keys, states, groupsMax });
const plans = [plan(1, [0], 20), plan(2, [6], 1000), plan(3, [], 1000), plan(4, [2, 0], 5)];

/** Numbers of all sizes, short and long texts, NULLs, keys that repeat: the same in every run. */
function* rows(count) {
  let seed = 12_345;
  const random = (below) => (seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0) % below;
  for (let i = 0; i < count; i++) {
    yield {
      url: random(9) ? `/page/${random(60)}` : null,
      ms: random(11) ? (random(2000) - 1000) * 2 ** (random(300) - 150) : null,
      n: random(7) ? random(40) - 20 : null,
      who: 'x\u00e9'.repeat(random(3) * random(120)) + String(random(500)),
      at: 1_700_000_000_000_000n + BigInt(random(1_000_000)) * 100_000n,
    };
  }
}

async function payloads(flavor) {
  const hub = await startHub({ streams: [{ schema: SCHEMA, plans }] });
  const errors = [];
  const core = () => readFile(new URL(`../dist/headwater_${flavor}.wasm`, import.meta.url));
  const hw = Headwater.connect({ url: hub.url, wasm: { core }, onError: (error) => errors.push(error) });
  try {
    // The first brings the plans; the others are pushed and flushed at one go.
    hw.emit('views', {});
    await hw.flush();
    for (const row of rows(3_000)) assert.equal(hw.emit('views', row), undefined);
    await hw.flush();
  } finally {
    await hw.close({ timeoutMs: 500 });
    await hub.close();
  }
  assert.deepEqual(errors, []);
  return [...hub.batches.values()].map(({ payload }) => hex(payload));
}

test('core and full modules write the same bytes', async () => {
  const [core, full] = [await payloads('core'), await payloads('full')];
  assert.equal(core.length, full.length);
  core.forEach((payload, index) => assert.ok(payload === full[index], `batch ${index}`));
});
