// A module that traps: a new one takes its place, the page goes on, and every event it held is counted.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import binaryen from 'binaryen';
import { Headwater } from '../dist/slim.js';
import { shortNames } from '../scripts/wasm-names.mjs';
import { startHub, until } from './hub.mjs';
import { KIND } from './wire.mjs';

/** The core module with one of its functions trapping, as a panic does: always, or when its third argument is `poison`. */
async function trapping(name, poison) {
  const module = binaryen.readBinary(await readFile(new URL('../dist/headwater_core.wasm', import.meta.url)));
  const inner = binaryen.getExportInfo(module.getExport(shortNames()[name])).value;
  const f = binaryen.Function(module.getFunction(inner));
  if (poison === undefined) f.body = module.unreachable();
  else {
    const third = module.local.get(2, binaryen.i32);
    const trap = module.if(module.i32.eq(third, module.i32.const(poison)), module.unreachable());
    f.body = module.block(null, [trap, f.body], binaryen.auto);
  }
  return module.emitBinary();
}

/** A client of a module, and a hub; the ledger holds at the end. */
async function run(core, body, faults) {
  const hub = await startHub({ faults });
  const errors = [];
  const hw = Headwater.connect({ url: hub.url, wasm: { core }, flushIntervalMs: 60_000, onError: (error) => errors.push(error.code) });
  const balance = () => {
    const s = hw.stats();
    const dropped = Object.values(s.dropped).reduce((a, b) => a + b, 0);
    assert.equal(s.emitted, s.pending + s.held + s.inOutbox + s.delivered + s.inDoubt + dropped, JSON.stringify(s));
    return s;
  };
  try {
    await body({ hub, hw, errors, balance });
    await hw.close({ timeoutMs: 1000 });
    const { held, pending, inOutbox } = balance();
    assert.deepEqual([held, pending, inOutbox], [0, 0, 0]);
  } finally {
    await hw.close({ timeoutMs: 1 });
    await hub.close();
  }
}

for (const name of ['engine_push', 'engine_flush', 'engine_poll_transmit', 'engine_new']) {
  test(`modules that all trap in ${name} are replaced three times, then events are refused`, async () =>
    run(await trapping(name), async ({ hw, errors, balance }) => {
      for (let i = 0; i < 50 && !hw.emit('views', { url: '/', ms: i }); i++) {
        await assert.rejects(hw.flush('durable', { timeoutMs: 5000 }), { code: 'wasm_trapped' });
      }
      assert.equal(hw.emit('views', { url: '/', ms: 1 })?.code, 'wasm_trapped');
      const { module, emitted, delivered, dropped } = balance();
      assert.deepEqual([module, delivered, dropped], ['trapped', 0, { wasm_trapped: emitted }]);
      assert.equal(errors.filter((code) => code === 'wasm_trapped').length, 4 + 2, 'each trap, and two events after');
    }));
}

// Prevents: one poisonous event ended counting on a page, until it was loaded again.
test('after a trap a new module counts what comes, and what was lost is told', async () =>
  run(await trapping('engine_push', 13), async ({ hub, hw, errors, balance }) => {
    for (let i = 0; i < 10; i++) hw.emit('views', { url: '/', ms: i });
    await hw.flush();
    const writer = hw.stream('views').writer('url', 'ms');
    for (let i = 0; i < 13; i++) writer.emit('/', i);
    await assert.rejects(hw.flush(), { code: 'wasm_trapped' });
    assert.deepEqual(balance().dropped, { wasm_trapped: 13 });
    for (let i = 0; i < 5; i++) assert.equal(writer.emit('/', i), undefined);
    await assert.rejects(hw.flush(), { code: 'lost', dropped: 13, inDoubt: 0 });
    await hw.flush();
    assert.deepEqual([hub.events(), hub.dropped(), balance().delivered, hw.stats().module], [15, { invalid: 13 }, 15, 'core']);
    assert.deepEqual(errors, ['wasm_trapped'], 'once');
  }));

test('what had left an old module is in doubt, what had not is dropped, and the new one goes on', async () => {
  let deaf = true;
  const faults = ({ kind }) => (deaf && (kind === KIND.batch || kind === KIND.resume) ? 'lose' : undefined);
  await run(await trapping('engine_push', 13), async ({ hub, hw, balance }) => {
    for (let i = 0; i < 4; i++) hw.emit('views', { url: '/', ms: i });
    await assert.rejects(hw.flush('durable', { timeoutMs: 100 }), { code: 'timeout' });
    for (let i = 0; i < 13; i++) hw.emit('views', { url: '/', ms: i });
    await assert.rejects(hw.flush('durable', { timeoutMs: 100 }), { code: 'wasm_trapped' });
    const { inDoubt, dropped } = balance();
    assert.deepEqual([inDoubt, dropped], [4, { wasm_trapped: 13 }]);
    deaf = false;
    hw.emit('views', { url: '/', ms: 1 });
    await hw.flush().catch(({ code }) => assert.equal(code, 'lost'));
    assert.equal(hub.events(), 1);
  }, faults);
});

test('a trap after a batch has left puts its events in doubt', async () =>
  run(await trapping('engine_has_reached'), async ({ hw, balance }) => {
    for (let i = 0; i < 10; i++) hw.emit('views', { url: '/', ms: i });
    await assert.rejects(hw.flush('durable', { timeoutMs: 5000 }), { code: 'wasm_trapped' });
    await until('the books', () => hw.stats().inDoubt === 10);
    const { inDoubt, delivered, dropped } = balance();
    assert.deepEqual([inDoubt, delivered, dropped], [10, 0, {}]);
  }));
