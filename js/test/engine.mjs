// A module's functions without the package around them.
import { readFile } from 'node:fs/promises';
import { shortNames } from '../scripts/wasm-names.mjs';

const dist = (name) => readFile(new URL(`../dist/${name}`, import.meta.url));
const now = 1_700_000_000_000_000;

/** A module's engine that asked for streams, is connected and waits for Welcome: what it says to frames, and its events; what it sends when. */
export async function engine(flavor, streams = []) {
  const random = (at, length) => crypto.getRandomValues(new Uint8Array(x.memory.buffer, at >>> 0, length));
  const { instance } = await WebAssembly.instantiate(await dist(`headwater_${flavor}.wasm`), { host: { random } });
  const x = { memory: instance.exports.memory };
  for (const [name, short] of Object.entries(shortNames())) x[name] = instance.exports[short];
  const pass = (bytes) => {
    const at = x.engine_lend(bytes.length) >>> 0;
    new Uint8Array(x.memory.buffer).set(bytes, at);
    return [at, bytes.length];
  };
  const take = (answer) => {
    const [from, length] = new Uint32Array(x.memory.buffer, answer >>> 0, 2);
    return Buffer.from(new Uint8Array(x.memory.buffer.slice(from, from + length)));
  };
  const at = x.engine_new(...pass(new Uint8Array()), 1, now);
  for (const name of streams) x.engine_add_stream(at, ...pass(Buffer.from(name)), now);
  x.engine_handle_timeout(at, now);
  x.engine_handle_connected(at, now);
  const later = (seconds) => now + 1000 + seconds * 1e6;
  return {
    frames: (bytes) => take(x.engine_handle_frames(at, ...pass(bytes), later(0))).toString(),
    event: () => take(x.engine_poll_event(at)).toString(),
    timeout: (seconds) => x.engine_handle_timeout(at, later(seconds)),
    transmit: (seconds) => take(x.engine_poll_transmit(at, later(seconds))),
  };
}
