// Raw, gzip and brotli sizes of what a page downloads, against limits that fail `cargo verify`.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

/** Bytes of brotli that were asked for: of JavaScript, at import; all that sends an event should fit there one day. */
export const GOAL = { wasm: 32 * 1024, js: 6 * 1024, first: 6 * 1024 };
/** Bytes of brotli that are too many. What is not at its goal yet has a limit that only ever goes down. */
export const LIMIT = { wasm: GOAL.wasm, js: GOAL.js, first: 11_100 };

/** Sizes of some bytes. */
export function sizes(bytes) {
  const brotli = brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } });
  return { raw: bytes.length, gzip: gzipSync(bytes, { level: 9 }).length, brotli: brotli.length };
}

/** Output files that an entry loads: at once, or with its first event too. */
export function closure(metafile, entry, withFirstEvent) {
  const seen = new Set();
  const visit = (file) => {
    if (seen.has(file)) return;
    seen.add(file);
    for (const { path, kind, external } of metafile.outputs[file].imports) {
      if (external) continue;
      if (kind === 'import-statement' || withFirstEvent) visit(path);
    }
  };
  visit(entry);
  return [...seen];
}

function total(dist, files) {
  const all = files.map((file) => sizes(readFileSync(join(dist, '..', file))));
  const sum = (key) => all.reduce((total, size) => total + size[key], 0);
  return { raw: sum('raw'), gzip: sum('gzip'), brotli: sum('brotli') };
}

/** Prints the table; false when something is over its budget. */
export function report(dist, metafile) {
  const rows = [];
  for (const flavor of ['core', 'full']) {
    const budget = flavor === 'core' ? 'wasm' : undefined;
    rows.push([`headwater_${flavor}.wasm`, sizes(readFileSync(join(dist, `headwater_${flavor}.wasm`))), budget]);
  }
  for (const entry of ['browser', 'node', 'slim']) {
    rows.push([`${entry}.js`, total(dist, closure(metafile, `dist/${entry}.js`, false)), 'js']);
  }
  rows.push(['browser.js, first event', total(dist, closure(metafile, 'dist/browser.js', true)), 'first']);
  console.log(`${'size in bytes'.padEnd(28)}${['raw', 'gzip', 'brotli', 'limit', 'goal'].map((h) => h.padStart(9)).join('')}`);
  let ok = true;
  for (const [name, size, kind] of rows) {
    const over = size.brotli > (LIMIT[kind] ?? Infinity);
    if (over) ok = false;
    const cells = [size.raw, size.gzip, size.brotli, LIMIT[kind] ?? '-', GOAL[kind] ?? '-'];
    const remark = over ? '  OVER LIMIT' : size.brotli > (GOAL[kind] ?? Infinity) ? '  over its goal' : '';
    console.log(`${name.padEnd(28)}${cells.map((n) => String(n).padStart(9)).join('')}${remark}`);
  }
  return ok;
}
