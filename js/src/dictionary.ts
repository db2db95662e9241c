/**
 * Strings as numbers, so that a string crosses into WASM once.
 *
 * Owns: {@link Interned}, handles of one engine. Must not know: columns, plans.
 * Invariants: pinned handles live as long as the engine and are the same number in every engine; passing
 * ones (strings seen in events) are forgotten together, only while no row that names them is waiting.
 */

import type { Engine } from './engine.ts';

/** Passing strings have this bit, pinned ones do not (`bindings/src/dictionary.rs`). */
const PASSING = 0x80000000;
/** Passing strings kept; above it all are forgotten: a stream of unique ids must not grow memory. */
const PASSING_MAX = 16_384;
/** Characters of passing strings kept. */
const PASSING_CHARS_MAX = 1 << 20;
/** Pinned strings per client: a handle never goes away. */
const PINNED_MAX = 65_536;

/**
 * A string registered once with `intern`: naming it costs no look-up. Works in `emit`, writers and columns; with another
 * client as well, at the price of a look-up.
 */
export class Interned {
  /** The string. */
  readonly value: string;
  /** Its number, for `Uint32Array` columns of the same client; -1 when too many strings are interned (it still works in `emit`). */
  readonly id: number;

  /** @internal */
  constructor(value: string, id: number) {
    this.value = value;
    this.id = id;
  }
}

/** The strings a client pinned, in the order of their handles. */
export class Pinned {
  /** @internal */
  readonly values: string[] = [];
  readonly #known = new Map<string, Interned>();

  /** Registers `value`, once. */
  intern(value: string): Interned {
    let interned = this.#known.get(value);
    if (!interned) {
      const full = this.values.length >= PINNED_MAX;
      interned = new Interned(value, full ? -1 : this.values.push(value) - 1);
      if (!full) this.#known.set(value, interned);
    }
    return interned;
  }
}

/** What a dictionary needs of its engine. */
export type DictionaryMemory = Pick<Engine, 'invoke' | 'lend'>;

/** Handles of one engine. */
export class Dictionary {
  readonly #passing = new Map<string, number>();
  #chars = 0;
  #count = 0;
  #pinnedCount = 0;
  readonly #memory: DictionaryMemory;
  readonly #pinned: Pinned;

  constructor(memory: DictionaryMemory, pinned: Pinned) {
    this.#memory = memory;
    this.#pinned = pinned;
  }

  /** The number of pinned strings that the module has; larger ids are foreign. */
  get pinnedLimit(): number {
    this.#sync();
    return this.#pinnedCount;
  }

  /** The handle of a string. */
  text(value: string): number {
    const known = this.#passing.get(value);
    if (known !== undefined) return known;
    const handle = this.#add(value);
    this.#passing.set(value, handle);
    return handle;
  }

  /** The handle of an interned string. */
  interned(value: Interned): number {
    // Of another client, or one too many.
    if (this.#pinned.values[value.id] !== value.value) return this.text(value.value);
    if (value.id >= this.#pinnedCount) this.#sync();
    return value.id;
  }

  /** A handle for bytes; not remembered. */
  bytes(value: Uint8Array): number {
    return this.#add(value);
  }

  /** True when passing strings should be forgotten as soon as no row names them. */
  get isFull(): boolean {
    return this.#count >= PASSING_MAX || this.#chars >= PASSING_CHARS_MAX;
  }

  /** Forgets passing strings. Only while no written row waits to be pushed. */
  forget(): void {
    this.#memory.invoke((x, at) => x.engine_forget_passing(at));
    this.#passing.clear();
    this.#chars = 0;
    this.#count = 0;
  }

  #sync(): void {
    for (; this.#pinnedCount < this.#pinned.values.length; this.#pinnedCount++) {
      const value = this.#pinned.values[this.#pinnedCount];
      this.#memory.invoke((x, at) => x.engine_intern_pinned(at, ...this.#memory.lend(value)));
    }
  }

  #add(value: string | Uint8Array): number {
    this.#chars += value.length;
    this.#count++;
    const number = this.#memory.invoke((x, at) => x.engine_intern_passing(at, ...this.#memory.lend(value)));
    return ((number ?? 0) | PASSING) >>> 0;
  }
}
