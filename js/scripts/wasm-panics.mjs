// Panics become traps: `wasm-panics.mjs INPUT OUTPUT core|full`. INPUT has a name section.
//
// The panic handler of `bindings/src/runtime.rs` traps without looking at what happened, but every check still
// passes a message and a place, and the module still holds them. What rustc's `panic_immediate_abort` does on
// nightly is done here after linking: functions that only panic are a bare `unreachable`, which wasm-opt then
// puts in place of every call; places in the sources become zeros, which it leaves out. Checks all stay.
import { readFileSync, writeFileSync } from 'node:fs';
import binaryen from 'binaryen';
import { sections, varint } from './wasm-sections.mjs';

/** Functions that never return and do nothing but panic. */
const PANICS = [
  /^core(\[\w+\])?::panicking::/,
  /^core(\[\w+\])?::(option::expect_failed|result::unwrap_failed|slice::index::slice_index_fail)$/,
  /^core(\[\w+\])?::slice::copy_from_slice_impl::len_mismatch_fail/,
  /^<?alloc(\[\w+\])?::.*::(capacity_overflow|handle_error|handle_alloc_error|assert_failed)$/,
  /^wasm_bindgen::(throw_str|__rt::throw_null)/,
  /::rust_begin_unwind$/,
];

/**
 * Formatting, of which the core module does none: panics' arguments name these functions in its table, which no
 * optimiser may change.
 */
const FORMATTING = [/\bcore(\[\w+\])?::(fmt|str::count)::/];

/**
 * Functions that a closure's vtable holds, before the closure itself, for whoever owns it. Nobody does: there is no
 * `dyn FnOnce` in the core. One that is the same as its closure is in the table in place of both, and stays.
 */
function ownedCalls(module) {
  const { data } = binaryen.getElementSegmentInfo(module.getElementSegmentByIndex(0));
  const isShim = (name) => name.includes('FnOnce::call_once{{vtable.shim}}');
  return new Set(data.filter((name, at) => isShim(name) && /\{\{closure\}\}|FnMut::call_mut/.test(data[at + 1])));
}

/** Active segments of a module's memory: the address and the bytes, in place. */
function* segments(bytes) {
  for (const { id, from } of sections(bytes)) {
    if (id !== 11) continue;
    let [count, inner] = varint(bytes, from);
    for (; count > 0; count--) {
      if (bytes[inner] !== 0 || bytes[inner + 1] !== 0x41) throw new Error('a data segment of another kind');
      let address, size;
      [address, inner] = varint(bytes, inner + 2);
      [size, inner] = varint(bytes, inner + 1);
      yield { address, data: bytes.subarray(inner, inner + size) };
      inner += size;
    }
  }
}

/** Zeros every `core::panic::Location` (address and length of a path, line, column) and the paths. */
function forgetPlaces(bytes) {
  const all = [...segments(bytes)];
  const text = (address, length) => {
    const home = all.find((s) => address >= s.address && address + length <= s.address + s.data.length);
    return home?.data.subarray(address - home.address, address - home.address + length);
  };
  const found = [];
  for (const { address, data } of all) {
    const view = new DataView(data.buffer, data.byteOffset, data.length);
    for (let at = (4 - (address % 4)) % 4; at + 16 <= data.length; at += 4) {
      const [path, length, line, column] = [0, 4, 8, 12].map((offset) => view.getUint32(at + offset, true));
      if (length < 4 || length > 255 || line === 0 || line > 99_999 || column === 0 || column > 999) continue;
      const name = text(path, length);
      if (name && /^[\w./-]+\.rs$/.test(Buffer.from(name).toString('latin1'))) found.push(data.subarray(at, at + 16), name);
    }
  }
  for (const piece of found) piece.fill(0);
  return found.length / 2;
}

/**
 * What panics would say: texts of the standard library and of this workspace's `expect`s, and the digits that numbers
 * in them are made of. Whole words, so that no text of the package is among them.
 */
const MESSAGES = [
  'capacity overflow', 'LayoutError', 'slice index starts at ', ' but ends at ', 'index out of bounds: the len is ',
  ' but the index is ', 'range start index ', 'range end index ', ' out of range for slice of length ',
  'memory allocation of ', ' bytes failed', 'copy_from_slice: source slice length (',
  ') does not match destination slice length (', '`at` split index (is ', ') should be <= len (is ',
  'insertion index (is ', 'removal index (is ', ') should be < len (is ', 'swap_remove index (is ', 'mid > len',
  'attempted to take ownership of Rust value while it was borrowed', 'null pointer passed to rust',
  'recursive use of an object detected which would lead to unsafe aliasing in rust',
  'attempt to join into collection with len > usize::MAX', 'Tried to shrink to a larger capacity',
  'Out of bounds access', 'assertion failed: self.peeked.is_none()', 'called `Result::unwrap()` on an `Err` value',
  'called `Option::unwrap()` on a `None` value', 'internal error: entered unreachable code: ',
  "a view's specs are supported", 'a valid spec that this build supports', 'merged states of different specs',
  'attempt to divide with overflow', 'attempt to divide by zero', 'attempt to calculate the remainder with overflow',
  'attempt to calculate the remainder with a divisor of zero',
  Array.from({ length: 100 }, (_, n) => String(n).padStart(2, '0')).join(''),
].map((text) => Buffer.from(text));

/** Zeros every message. */
function forgetMessages(bytes) {
  for (const { data } of segments(bytes)) {
    const all = Buffer.from(data.buffer, data.byteOffset, data.length);
    for (const message of MESSAGES) {
      for (let at = 0; (at = all.indexOf(message, at)) >= 0; ) all.fill(0, at, at + message.length);
    }
  }
}

const [input, output, flavor] = process.argv.slice(2);
const unreachable = flavor === 'core' ? [...PANICS, ...FORMATTING] : PANICS;
const bytes = readFileSync(input);
const places = forgetPlaces(bytes);
forgetMessages(bytes);
// Names stay for whoever looks into the output; wasm-opt strips them.
binaryen.setDebugInfo(true);
const module = binaryen.readBinary(bytes);
const owned = flavor === 'core' ? ownedCalls(module) : new Set();
let panics = 0;
for (let i = 0; i < module.getNumFunctions(); i++) {
  const info = binaryen.getFunctionInfo(module.getFunctionByIndex(i));
  if (info.module || !(owned.has(info.name) || unreachable.some((name) => name.test(info.name)))) continue;
  binaryen.Function(module.getFunctionByIndex(i)).body = module.unreachable();
  panics++;
}
// A toolchain that names things otherwise would silently give a larger module.
if (!panics || !places) throw new Error(`no panics found in ${input}: does it have names?`);
writeFileSync(output, module.emitBinary());
