// Reads the outline of a WASM module.

/** A varint's value, and where it ends. */
export function varint(bytes, at) {
  let value = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[at++];
    value += (byte & 127) * 2 ** shift;
    if (byte < 128) return [value, at];
  }
}

/** Sections: their id, where they start with it, where their content is from, and where it ends. */
export function* sections(bytes) {
  for (let start = 8; start < bytes.length; ) {
    const [length, from] = varint(bytes, start + 1);
    yield { id: bytes[start], start, from, end: from + length };
    start = from + length;
  }
}
