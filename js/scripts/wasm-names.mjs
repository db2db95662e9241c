// The names by which a published module and the JavaScript around it know each other: a letter for every function.
//
// `build.mjs` puts them into the modules and, as mangled properties, into the bundles; sources and types keep the long ones.
import { readFileSync } from 'node:fs';
import binaryen from 'binaryen';

const LETTERS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ';
const GENERATED = new URL('../src/generated/headwater_core_bg.wasm', import.meta.url);

/** The letter of every function of `bindings/src/exports.rs`. */
export function shortNames() {
  const exports = WebAssembly.Module.exports(new WebAssembly.Module(readFileSync(GENERATED)));
  const names = exports.map(({ name }) => name).filter((name) => name.startsWith('engine_')).sort();
  if (names.length > LETTERS.length) throw new Error('more functions than letters');
  return Object.fromEntries(names.map((name, index) => [name, LETTERS[index]]));
}

/**
 * Gives a module that wasm-bindgen wrote its short names. Its table of JavaScript values, of which this surface has
 * none, and what its own glue would look at after a trap go; the one import that is left is `host.random`.
 */
export function shorten(bytes) {
  binaryen.setDebugInfo(true);
  const module = binaryen.readBinary(bytes);
  for (const [name, short] of Object.entries(shortNames())) {
    const { value } = binaryen.getExportInfo(module.getExport(name));
    module.removeExport(name);
    module.addFunctionExport(value, short);
  }
  const unused = ['__wbindgen_start', '__wbindgen_externrefs', '__abort_handler', '__instance_terminated'];
  for (const name of unused) module.removeExport(name);
  module.runPasses(['remove-unused-module-elements']);
  const functions = Array.from({ length: module.getNumFunctions() }, (_, i) => binaryen.getFunctionInfo(module.getFunctionByIndex(i)));
  const imports = functions.filter((info) => info.module);
  if (imports.length !== 1 || !imports[0].base.includes('getRandomValues')) {
    throw new Error(`imports that js/src/module.ts does not bring: ${imports.map(({ base }) => base)}`);
  }
  const [{ name, params, results }] = imports;
  module.removeFunction(name);
  module.addFunctionImport(name, 'host', 'random', params, results);
  return module.emitBinary();
}
