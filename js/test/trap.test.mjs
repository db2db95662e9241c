// A module that traps: the page goes on, and every event it held is counted.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import binaryen from 'binaryen';
import { Headwater } from '../dist/slim.js';
import { shortNames } from '../scripts/wasm-names.mjs';
import { startHub } from './hub.mjs';

/** The core module with one of its functions replaced by a trap: what a panic compiles to. */
async function trapping(name) {
  const module = binaryen.readBinary(await readFile(new URL('../dist/headwater_core.wasm', import.meta.url)));
  const inner = binaryen.getExportInfo(module.getExport(shortNames()[name])).value;
  binaryen.Function(module.getFunction(inner)).body = module.unreachable();
  return module.emitBinary();
}

for (const name of ['engine_push', 'engine_flush', 'engine_poll_transmit', 'engine_new']) {
  test(`a trap in ${name} is reported once and drops what was held, with a count`, async () => {
    const hub = await startHub();
    const errors = [];
    const core = await trapping(name);
    const hw = Headwater.connect({ url: hub.url, wasm: { core }, onError: (error) => errors.push(error.code) });
    for (let i = 0; i < 10; i++) hw.emit('views', { url: '/', ms: i });
    await assert.rejects(hw.flush('durable', { timeoutMs: 5000 }), { code: 'wasm_trapped' });
    assert.equal(hw.emit('views', { url: '/', ms: 1 })?.code, 'wasm_trapped');
    assert.equal(hw.stats().module, 'trapped');
    const stats = await hw.close();
    assert.deepEqual([stats.emitted, stats.delivered, stats.dropped], [11, 0, { wasm_trapped: 11 }]);
    assert.equal(errors.filter((code) => code === 'wasm_trapped').length, 2, 'the trap, and the event after it');
    await hub.close();
  });
}

test('a trap after a batch has left puts its events in doubt', async () => {
  const hub = await startHub();
  const hw = Headwater.connect({ url: hub.url, wasm: { core: await trapping('engine_has_reached') } });
  for (let i = 0; i < 10; i++) hw.emit('views', { url: '/', ms: i });
  await assert.rejects(hw.flush('durable', { timeoutMs: 5000 }), { code: 'wasm_trapped' });
  const stats = await hw.close();
  assert.deepEqual([stats.inDoubt, stats.delivered, stats.dropped], [10, 0, {}]);
  await hub.close();
});
