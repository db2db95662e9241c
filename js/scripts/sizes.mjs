// Raw, gzip and brotli sizes of what a page downloads, against the budget (issue 2: core WASM <= 32 KB, JS <= 6 KB brotli).
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

/** Bytes of brotli. */
export const BUDGET = { wasm: 32 * 1024, js: 6 * 1024 };

/** Sizes of some bytes. */
export function sizes(bytes) {
  const brotli = brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } });
  return { raw: bytes.length, gzip: gzipSync(bytes, { level: 9 }).length, brotli: brotli.length };
}

/** Output files that an entry loads before and with its first event: static imports and the core's glue. */
export function closure(metafile, entry) {
  const seen = new Set();
  const visit = (file) => {
    if (seen.has(file)) return;
    seen.add(file);
    for (const { path, kind, external } of metafile.outputs[file].imports) {
      if (external) continue;
      const isFull = false;
      if (kind === 'import-statement' || !isFull) visit(path);
    }
  };
  visit(entry);
  return [...seen];
}

/** Prints the table; false when something is over its budget. */
export function report(dist, metafile) {
  const rows = [];
  for (const flavor of ['core', 'full']) {
    const budget = flavor === 'core' ? BUDGET.wasm : undefined;
    rows.push([`headwater_${flavor}.wasm`, sizes(readFileSync(join(dist, `headwater_${flavor}.wasm`))), budget]);
  }
  for (const entry of ['browser', 'node', 'slim']) {
    const files = closure(metafile, `dist/${entry}.js`);
    const all = files.map((file) => sizes(readFileSync(join(dist, '..', file))));
    const sum = (key) => all.reduce((total, size) => total + size[key], 0);
    const size = { raw: sum('raw'), gzip: sum('gzip'), brotli: sum('brotli') };
    rows.push([`${entry}.js and ${files.length - 1} chunks`, size, BUDGET.js]);
  }
  console.log(`${'size in bytes'.padEnd(28)}${['raw', 'gzip', 'brotli', 'budget'].map((h) => h.padStart(9)).join('')}`);
  let ok = true;
  for (const [name, size, budget] of rows) {
    const over = budget !== undefined && size.brotli > budget;
    if (over) ok = false;
    const cells = [size.raw, size.gzip, size.brotli, budget ?? '-'].map((n) => String(n).padStart(9)).join('');
    console.log(`${name.padEnd(28)}${cells}${over ? '  OVER BUDGET' : ''}`);
  }
  return ok;
}
