/**
 * Loading a WASM module: from wherever its bytes come to its functions.
 *
 * Owns: sources, compiling, the three imports that wasm-bindgen asks for. Must not know: engines.
 * The generated glue is not used but for its types: it is a third of the size budget, it allows one instance
 * per page, and every function here takes and gives numbers.
 */
import type { InitOutput } from './generated/headwater_core.js';

/** The module's functions and memory; `bindings/src/lib.rs` says what they mean. */
export type Exports = InitOutput;

/** Where a module's bytes come from. */
export type WasmInput = string | URL | Request | Response | BufferSource | WebAssembly.Module;

/** A URL, a `Response`, bytes or a compiled module; a promise of one; or a function that gives either. */
export type WasmSource = WasmInput | Promise<WasmInput> | (() => WasmInput | Promise<WasmInput>);

/** Compiles and instantiates. */
export async function load(source: WasmSource): Promise<Exports> {
  const module = await compile(await (typeof source === 'function' ? source() : source));
  const holder: { exports?: Exports } = {};
  const { exports } = await WebAssembly.instantiate(module, imports(module, holder));
  holder.exports = exports as unknown as Exports;
  holder.exports.__wbindgen_start();
  return holder.exports;
}

async function compile(input: WasmInput): Promise<WebAssembly.Module> {
  if (input instanceof WebAssembly.Module) return input;
  if (typeof input === 'string' || input instanceof URL || input instanceof Request) input = await fetch(input);
  if (!(input instanceof Response)) return WebAssembly.compile(input as BufferSource);
  if (!input.ok) throw new Error(`${input.url} answered ${input.status}`);
  // Streaming insists on the type; servers that do not know it are common.
  const isTyped = input.headers.get('content-type')?.startsWith('application/wasm');
  return isTyped ? WebAssembly.compileStreaming(input) : WebAssembly.compile(await input.arrayBuffer());
}

/** wasm-bindgen puts a hash behind the names of its imports. */
function imports(module: WebAssembly.Module, holder: { exports?: Exports }): WebAssembly.Imports {
  const all: Record<string, Record<string, WebAssembly.ImportValue>> = {};
  for (const { module: from, name } of WebAssembly.Module.imports(module)) {
    const isRandom = name.includes('getRandomValues');
    const isThrow = name.includes('wbindgen_throw');
    (all[from] ??= {})[name] = (at: number, length: number) => {
      if (isRandom) crypto.getRandomValues(new Uint8Array(holder.exports!.memory.buffer, at >>> 0, length));
      if (isThrow) throw new Error('the module was called in a wrong way');
      // The third sets up a table of JavaScript values, of which this surface has none.
    };
  }
  return all;
}
