/**
 * The WASM module behind one wall: every call goes through {@link Engine.invoke}, which survives a trap.
 *
 * Owns: passing bytes, memory views, the poisoned state, tables. Must not know: transports, retries, users.
 * Invariants: after a trap no call reaches the module again; views are renewed whenever memory grew.
 * Bytes go into memory that the module lends and the next call takes; they come back as the address of their address
 * and length, and stay there until the next answer (`bindings/src/exports.rs`).
 */
import { Dictionary, type Pinned } from './dictionary.ts';
import type { Exports } from './module.ts';
import { Table, type TableMemory } from './table.ts';

/** Ends the last name of a stream; a larger byte ends the others (`Engine::schema` in `bindings/src/lib.rs`). */
const STREAM_END = 254;

/** A running module. */
export interface Instance {
  /** Its functions and memory. */
  exports: Exports;
  /** True once it trapped: what it holds cannot be trusted any more. */
  trapped: boolean;
}

/** One engine of a module: one producer. */
export class Engine implements TableMemory {
  /** The module's memory as it is now. */
  buffer: ArrayBuffer;
  /** Rows per table. */
  readonly rows: number;
  /** Strings by number. */
  readonly texts: Dictionary;
  /** The streams whose plans are here. */
  tables = new Map<string, Table>();
  readonly #instance: Instance;
  readonly #onTrap: (cause: unknown) => void;
  readonly #encoder = new TextEncoder();
  readonly #decoder = new TextDecoder();
  #at = 0;
  #isFreed = false;

  /** `level` is the number of an ack level; `token` may be empty; `now` is microseconds of the local clock. */
  constructor(
    instance: Instance, pinned: Pinned, token: string, level: number, now: number, onTrap: (cause: unknown) => void,
  ) {
    this.#instance = instance;
    this.#onTrap = onTrap;
    this.buffer = instance.exports.memory.buffer as ArrayBuffer;
    const { engine_new } = instance.exports;
    this.#at = this.invoke(() => engine_new(...this.lend(token), level, now) >>> 0) ?? 0;
    this.rows = this.invoke((x, at) => x.engine_rows(at)) ?? 0;
    this.texts = new Dictionary(this, pinned);
  }

  /** Calls the module with its exports and this engine's address; undefined when it trapped, now or before. */
  invoke<T>(f: (exports: Exports, at: number) => T): T | undefined {
    if (this.#isFreed) return undefined;
    const instance = this.#instance;
    try {
      if (instance.trapped) throw new Error('the module trapped before');
      const result = f(instance.exports, this.#at);
      if (instance.exports.memory.buffer !== this.buffer) this.#renew();
      return result;
    } catch (cause) {
      instance.trapped = this.#isFreed = true;
      // Who is about to write a row more may: it is counted with what the module held.
      this.#renew();
      this.#drop();
      this.#onTrap(cause);
      return undefined;
    }
  }

  /** Like {@link invoke}, for functions that answer with bytes; undefined also when there are none. */
  takeBytes(f: (exports: Exports, at: number) => number): Uint8Array | undefined {
    const bytes = this.#take(f);
    return bytes?.byteLength ? new Uint8Array(bytes) : undefined;
  }

  /** Like {@link takeBytes}, as text. */
  takeText(f: (exports: Exports, at: number) => number): string | undefined {
    const bytes = this.takeBytes(f);
    return bytes && this.#decoder.decode(bytes);
  }

  /** Like {@link takeBytes}, as doubles. */
  takeNumbers(f: (exports: Exports, at: number) => number): Float64Array | undefined {
    const bytes = this.#take(f);
    return bytes && new Float64Array(bytes);
  }

  #take(f: (exports: Exports, at: number) => number): ArrayBuffer | undefined {
    return this.invoke((x, at) => {
      const answer = f(x, at) >>> 0;
      const memory = x.memory.buffer as ArrayBuffer;
      const [from, length] = new Uint32Array(memory, answer, 2);
      return memory.slice(from, from + length);
    });
  }

  /** Puts bytes into memory for the next call, which takes them; only inside {@link invoke}. */
  lend(value: string | Uint8Array): [number, number] {
    const bytes = typeof value === 'string' ? this.#encoder.encode(value) : value;
    const { engine_lend, memory } = this.#instance.exports;
    const at = engine_lend(bytes.length) >>> 0;
    new Uint8Array(memory.buffer).set(bytes, at);
    return [at, bytes.length];
  }

  /** Evaluates the rows of one table; see {@link TableMemory}. */
  push(table: number, rows: number): void {
    this.invoke((x, at) => x.engine_push(at, table, rows));
  }

  /** Evaluates the rows of all tables. */
  pushAll(): void {
    for (const table of this.tables.values()) table.push();
    if (this.texts.isFull) this.texts.forget();
  }

  /** Makes tables for the streams whose plans are here now. Rows of the old ones must have been pushed. */
  bind(): void {
    this.#drop();
    const names: string[] = [];
    let from = 0;
    let index = 0;
    // Whatever a name holds, its end is a byte that no text has.
    this.takeBytes((x, at) => x.engine_schema(at))?.forEach((byte, end, bytes) => {
      if (byte < STREAM_END) return;
      names.push(this.#decoder.decode(bytes.subarray(from, end)));
      from = end + 1;
      if (byte > STREAM_END) return;
      const [name, ...columns] = names.splice(0);
      const layout = this.takeNumbers((x, at) => x.engine_layout(at, index));
      if (layout?.length) this.tables.set(name, new Table(this, index, columns, layout, this.texts));
      index++;
    });
  }

  /** Releases the module's memory of this engine. */
  free(): void {
    this.invoke((x, at) => x.engine_free(at));
    this.#isFreed = true;
    this.#drop();
  }

  #drop(): void {
    for (const table of this.tables.values()) table.live = false;
    this.tables = new Map();
  }

  #renew(): void {
    this.buffer = this.#instance.exports.memory.buffer as ArrayBuffer;
    for (const table of this.tables.values()) table.view();
  }
}
