// Lists the functions and data of a WASM module by size. Build it first:
//   cargo run -p headwater-tests --no-default-features --features js-build --bin build_js -- --core-only
//   node scripts/wasm-sizes.mjs [src/generated/headwater_core_bg.wasm] [how many]
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const [input = 'src/generated/headwater_core_bg.wasm', count = '60'] = process.argv.slice(2);
const optimised = join(tmpdir(), 'headwater-names.wasm');
spawnSync(process.execPath, ['node_modules/binaryen/bin/wasm-opt', '-Oz', '-g', input, '-o', optimised], { stdio: 'inherit' });
const bytes = readFileSync(optimised);
let at = 8;
const varint = () => {
  let value = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[at++];
    value += (byte & 127) * 2 ** shift;
    if (byte < 128) return value;
  }
};


let imports = 0;
const sizes = [];
const names = new Map();
while (at < bytes.length) {
  const id = bytes[at++];
  const length = varint();
  const end = at + length;
  if (id === 2) {
    for (let n = varint(); n > 0; n--) {
      for (let k = 0; k < 2; k++) {
        const length = varint();
        at += length;
      }
      const kind = bytes[at++];
      if (kind === 0) imports++;
      if (kind === 0) varint();
      else break;
    }
  } else if (id === 10) {
    for (let n = varint(), i = 0; i < n; i++) {
      const size = varint();
      sizes.push(size);
      at += size;
    }
  } else if (id === 11) console.log('data section', end - at);
  else if (id === 0) {
    const nameLength = varint();
    const name = bytes.subarray(at, at + nameLength).toString();
    at += nameLength;
    if (name === 'name') {
      while (at < end) {
        const sub = bytes[at++];
        const subLength = varint();
        const subEnd = at + subLength;
        if (sub === 1) {
          for (let n = varint(); n > 0; n--) {
            const index = varint();
            const length = varint();
            names.set(index, bytes.subarray(at, at + length).toString());
            at += length;
          }
        }
        at = subEnd;
      }
    }
  }
  at = end;
}
const rows = sizes.map((size, i) => [size, names.get(i + imports) ?? `#${i + imports}`]).sort((a, b) => b[0] - a[0]);
console.log('code', sizes.reduce((a, b) => a + b, 0), 'in', sizes.length, 'functions');
for (const [size, name] of rows.slice(0, Number(count))) console.log(String(size).padStart(7), name);

// The same by module: two levels of the first path in the name.
const modules = new Map();
for (const [size, name] of rows) {
  const path = name.replace(/^<+/, '').match(/^([\w]+)(\[[^\]]*\])?(::[\w]+)?(::[\w]+)?/);
  const key = path ? `${path[1]}${path[3] ?? ''}${path[4] ?? ''}` : name;
  modules.set(key, (modules.get(key) ?? 0) + size);
}
console.log('\nby module');
for (const [name, size] of [...modules].sort((a, b) => b[1] - a[1]).slice(0, Number(count))) {
  console.log(String(size).padStart(7), name);
}
