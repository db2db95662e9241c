/**
 * Loading a WASM module: from wherever its bytes come to its functions.
 *
 * Owns: sources, compiling, the one import that is left of wasm-bindgen's. Must not know: engines.
 * The generated glue is not used but for its types: it is a third of the size budget, it allows one instance
 * per page, and every function here takes and gives numbers. `scripts/wasm-names.mjs` gives both sides short names.
 */
import type { InitOutput } from './generated/headwater_core.js';

/** The module's functions and memory; `bindings/src/lib.rs` says what they mean. */
export type Exports = InitOutput;

/** Where a module's bytes come from. */
export type WasmInput = string | URL | Request | Response | BufferSource | WebAssembly.Module;

/** A URL, a `Response`, bytes or a compiled module; a promise of one; or a function that gives either. */
export type WasmSource = WasmInput | Promise<WasmInput> | (() => WasmInput | Promise<WasmInput>);

/** Instantiates what {@link compile} gives. */
export async function load(module: WebAssembly.Module): Promise<Exports> {
  const random = (at: number, length: number) => {
    crypto.getRandomValues(new Uint8Array(exports.memory.buffer, at >>> 0, length));
  };
  const exports = (await WebAssembly.instantiate(module, { host: { random } })).exports as unknown as Exports;
  return exports;
}

/** Compiles what a source gives. */
export async function compile(source: WasmSource): Promise<WebAssembly.Module> {
  let input = await (typeof source === 'function' ? source() : source);
  if (input instanceof WebAssembly.Module) return input;
  if (typeof input === 'string' || input instanceof URL || input instanceof Request) input = await fetch(input);
  if (!(input instanceof Response)) return WebAssembly.compile(input as BufferSource);
  if (!input.ok) throw new Error(`${input.url} answered ${input.status}`);
  // Streaming insists on the type; servers that do not know it are common.
  const isTyped = input.headers.get('content-type')?.startsWith('application/wasm');
  return isTyped ? WebAssembly.compileStreaming(input) : WebAssembly.compile(await input.arrayBuffer());
}
