// Puts functions that resemble each other side by side: `wasm-order.mjs INPUT OUTPUT`. INPUT has a name section.
//
// The order of functions means nothing to a module, but brotli finds more to repeat where what repeats is near: 3 % of
// the core module. wasm-opt sorts functions by name; so each gets a name that says its place.
import { readFileSync, writeFileSync } from 'node:fs';
import binaryen from 'binaryen';
import { sections, varint } from './wasm-sections.mjs';

/** Bytes in a row that make a repetition worth pointing to. */
const GRAM = 4;
const [IMPORT, CODE, CUSTOM] = [2, 10, 0];

/** The bytes of every function that is not imported. */
function bodies(bytes) {
  const code = [...sections(bytes)].find(({ id }) => id === CODE);
  let [count, at] = varint(bytes, code.from);
  return Array.from({ length: count }, () => {
    let size;
    [size, at] = varint(bytes, at);
    return bytes.subarray(at, (at += size));
  });
}

/** All runs of {@link GRAM} bytes, each as one number. */
function grams(body) {
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  return new Set(Array.from({ length: Math.max(body.length - GRAM + 1, 0) }, (_, at) => view.getUint32(at)));
}

/** From the largest function on, always the one of which the last one holds the largest share. */
function chain(functions) {
  const left = new Map(functions.map((body, index) => [index, grams(body)]));
  let [last] = [...left].reduce((largest, one) => (one[1].size > largest[1].size ? one : largest));
  const order = [];
  for (;;) {
    const seen = left.get(last);
    left.delete(last);
    order.push(last);
    if (!left.size) return order;
    let best = -1;
    for (const [index, own] of left) {
      let shared = 0;
      for (const gram of own) shared += seen.has(gram);
      const share = shared / Math.max(own.size, 1);
      if (share > best) [best, last] = [share, index];
    }
  }
}

const leb = (value) => (value < 128 ? [value] : [(value % 128) + 128, ...leb(Math.floor(value / 128))]);
const sized = (bytes) => [...leb(bytes.length), ...bytes];

/** A section with a name for every function. */
function nameSection(names) {
  const all = names.flatMap((name, index) => [...leb(index), ...sized(Buffer.from(name))]);
  return Buffer.from([CUSTOM, ...sized([...sized(Buffer.from('name')), 1, ...sized([...leb(names.length), ...all])])]);
}

const [input, output] = process.argv.slice(2);
const bytes = readFileSync(input);
const imports = [...sections(bytes)].filter(({ id }) => id === IMPORT).reduce((sum, { from }) => sum + varint(bytes, from)[0], 0);
const functions = bodies(bytes);
const names = Array.from({ length: imports }, (_, index) => `import${index}`);
chain(functions).forEach((index, place) => (names[imports + index] = `place${String(place).padStart(6, '0')}`));
const code = [...sections(bytes)].filter(({ id }) => id !== CUSTOM).map(({ start, end }) => bytes.subarray(start, end));
const module = binaryen.readBinary(Buffer.concat([bytes.subarray(0, 8), ...code, nameSection(names)]));
module.runPasses(['reorder-functions-by-name']);
writeFileSync(output, module.emitBinary());
