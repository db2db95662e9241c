// A module's functions without the package around them.
import { readFile } from 'node:fs/promises';

const dist = (name) => readFile(new URL(`../dist/${name}`, import.meta.url));
const now = 1_700_000_000_000_000;

/** A module's engine that is connected and waits for Welcome: what it says to frames, and its events. */
export async function engine(flavor) {
  const glue = await import(`../src/generated/headwater_${flavor}.js`);
  const x = await glue.default({ module_or_path: await dist(`headwater_${flavor}.wasm`) });
  const pass = (bytes) => {
    const at = x.engine_lend(bytes.length) >>> 0;
    new Uint8Array(x.memory.buffer).set(bytes, at);
    return [at, bytes.length];
  };
  const take = (answer) => {
    const [from, length] = new Uint32Array(x.memory.buffer, answer >>> 0, 2);
    return Buffer.from(new Uint8Array(x.memory.buffer, from, length)).toString();
  };
  const at = x.engine_new(...pass(new Uint8Array()), 1, now);
  x.engine_handle_timeout(at, now);
  x.engine_handle_connected(at, now);
  return { frames: (bytes) => take(x.engine_handle_frames(at, ...pass(bytes), now + 1000)), event: () => take(x.engine_poll_event(at)) };
}
