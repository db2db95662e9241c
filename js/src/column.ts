/**
 * One column of one stream in WASM memory: checks a value and writes it in place.
 *
 * Owns: what each SQL type takes from JavaScript and how it is laid out (`bindings/src/stage.rs`).
 * Must not know: rows' meaning, plans, when rows are pushed.
 */
import { type Dictionary, Interned } from './dictionary.ts';
import type { ValueFault } from './errors.ts';
import { parseDate, parseTimestamp } from './time.ts';
import type { Interval, Value } from './types.ts';

/** SQL types by the code that the module gives them. */
const enum Type { Bool, Int16, Int32, Int64, Float32, Float64, Decimal, Text, Bytea, Uuid, Date, Timestamp, Interval }

/** Their names in SQL. */
const NAMES = 'boolean,smallint,integer,bigint,real,double precision,numeric,text,bytea,uuid,date,timestamptz,interval'.split(',');

/** 32-bit words of a value per type code; of a type that is none, none. */
const WORDS = [0.25, 2, 2, 2, 2, 2, 4, 1, 1, 1, 2, 2, 4];
const TWO_32 = 4294967296;
const DAY_MS = 86_400_000;
/** Integers up to this magnitude per type code. */
const INT_MAX = [0, 32767, 2147483647, Number.MAX_SAFE_INTEGER];

/** Parts of an interval: what has others, or none, is something else. */
const INTERVAL = ['months', 'days', 'micros'];

/** What `columns` takes for one column: an array, or a typed array where the type fits (ids of interned strings: `Uint32Array`). */
export type ColumnValues = ArrayLike<Value>;

/** Where a column's values are. */
export class Column {
  readonly name: string;
  readonly type: number;
  readonly #precision: number;
  readonly #scale: number;
  readonly #limit: number;
  readonly #at: number;
  readonly #slotsAt: number;
  readonly #rows: number;
  readonly #texts: Dictionary;
  readonly #index: number;
  readonly #flagsAt: number;
  readonly #isPreset: boolean;
  /** Why the last {@link copy} stopped. */
  fault: ValueFault | undefined;
  #flags!: Uint8Array;
  #i32!: Int32Array;
  #f64!: Float64Array;
  #u8!: Uint8Array;
  #slots!: Uint8Array;

  /**
   * `layout`: type, precision, scale, longest value in bytes, address of values, address of slots. `flagsAt`: the
   * address of a byte per column that says "a NULL was written". `isPreset`: every row has a value before it is
   * written, which a null leaves as it is.
   */
  constructor(
    name: string, index: number, layout: Iterable<number>, flagsAt: number, rows: number, texts: Dictionary,
    isPreset: boolean,
  ) {
    this.name = name;
    this.#index = index;
    this.#flagsAt = flagsAt;
    [this.type, this.#precision, this.#scale, this.#limit, this.#at, this.#slotsAt] = layout;
    this.#rows = rows;
    this.#texts = texts;
    this.#isPreset = isPreset;
  }

  /** Makes views; again whenever the memory grew. */
  view(buffer: ArrayBuffer): void {
    this.#i32 = new Int32Array(buffer, this.#at, this.#rows * WORDS[this.type]);
    this.#u8 = new Uint8Array(buffer, this.#at, this.#rows);
    if (this.type === Type.Float32 || this.type === Type.Float64) {
      this.#f64 = new Float64Array(buffer, this.#at, this.#rows);
    }
    this.#slots = new Uint8Array(buffer, this.#slotsAt, this.#rows);
    this.#flags = new Uint8Array(buffer, this.#flagsAt, this.#index + 1);
  }

  /** What fits: the type's name in SQL, and where a value is too long how long it may be. */
  expected(fault?: ValueFault): string {
    return NAMES[this.type] + (fault === 'too_long' ? ` of at most ${this.#limit} bytes` : '');
  }

  /** Marks a row as NULL; a preset value stays. */
  setNull(row: number): void {
    if (this.#isPreset) return;
    this.#slots[row] = 1;
    this.#flags[this.#index] = 1;
  }

  /** Checks and writes a value that is not null. */
  write(row: number, value: NonNullable<Value>): ValueFault | undefined {
    switch (this.type) {
      case Type.Float64:
      case Type.Float32:
        return this.#writeFloat(row, value);
      case Type.Text:
      case Type.Bytea:
      case Type.Uuid:
        return this.#writeBytes(row, value);
      case Type.Int16:
      case Type.Int32:
      case Type.Int64:
        return this.#writeInt(row, value);
      case Type.Bool:
        if (typeof value !== 'boolean') return 'wrong_type';
        this.#u8[row] = value ? 1 : 0;
        return undefined;
      case Type.Timestamp:
      case Type.Date:
        return this.#writeTime(row, value);
      case Type.Decimal:
        return this.#writeDecimal(row, value);
      case Type.Interval:
        return this.#writeInterval(row, value);
      default:
        return 'wrong_type';
    }
  }

  /** Writes a whole number of safe size into a 64-bit column. */
  setInt(row: number, value: number): void {
    this.#i32[row * 2] = value;
    this.#i32[row * 2 + 1] = Math.floor(value / TWO_32);
  }

  /** Writes one whole number into many rows. */
  fillInt(row: number, count: number, value: number): void {
    const i64 = new BigInt64Array(this.#i32.buffer, this.#i32.byteOffset, this.#rows);
    i64.fill(BigInt(value), row, row + count);
  }

  /**
   * Writes `count` values of `from`, from `offset` on, into the rows from `row` on. Gives how many were taken:
   * less than `count` when the next one is bad; {@link fault} says why.
   */
  copy(row: number, from: ColumnValues, offset: number, count: number): number {
    this.fault = undefined;
    if (from instanceof Float64Array && this.type === Type.Float64) return this.#copyFloats(row, from, offset, count);
    if (from instanceof Uint32Array && this.type === Type.Text) return this.#copyIds(row, from, offset, count);
    for (let i = 0; i < count; i++) {
      const value = from[offset + i];
      if (value === null || value === undefined) this.setNull(row + i);
      else if ((this.fault = this.write(row + i, value))) return i;
    }
    return count;
  }

  /** Marks `count` rows from `row` on as NULL or not. */
  fillNull(row: number, count: number, isNull: boolean): void {
    this.#slots.fill(isNull ? 1 : 0, row, row + count);
    if (isNull) this.#flags[this.#index] = 1;
  }

  #copyFloats(row: number, from: Float64Array, offset: number, count: number): number {
    const to = this.#f64;
    for (let i = 0; i < count; i++) {
      const value = from[offset + i];
      if (value !== value) {
        this.fault = 'nan';
        return i;
      }
      to[row + i] = value;
    }
    return count;
  }

  #copyIds(row: number, from: Uint32Array, offset: number, count: number): number {
    const limit = this.#texts.pinnedLimit;
    const to = this.#i32;
    for (let i = 0; i < count; i++) {
      const id = from[offset + i];
      if (id >= limit) {
        this.fault = 'wrong_type';
        return i;
      }
      to[row + i] = id;
    }
    return count;
  }

  #writeFloat(row: number, value: unknown): ValueFault | undefined {
    if (typeof value !== 'number') return 'wrong_type';
    if (value !== value) return 'nan';
    if (this.type === Type.Float32) {
      const rounded = Math.fround(value);
      // Neither infinite nor 0 by rounding, as everywhere else (`narrow` in `sdk/src/expr/cast.rs`).
      if (rounded !== value && (!rounded || Math.abs(rounded) === Infinity)) return 'out_of_range';
      value = rounded;
    }
    this.#f64[row] = value as number;
    return undefined;
  }

  #writeInt(row: number, value: unknown): ValueFault | undefined {
    if (typeof value === 'number') {
      if (value !== value) return 'nan';
      if (!Number.isInteger(value)) return 'wrong_type';
      const max = INT_MAX[this.type];
      if (value > max || value < -max - (this.type === Type.Int64 ? 0 : 1)) return 'out_of_range';
      this.setInt(row, value);
      return undefined;
    }
    return this.#writeBig(row, value, [0, 16, 32, 64][this.type]);
  }

  #writeBig(row: number, value: unknown, bits: number): ValueFault | undefined {
    if (typeof value !== 'bigint') return 'wrong_type';
    if (BigInt.asIntN(bits, value) !== value) return 'out_of_range';
    this.#setBig(row * 2, value);
    return undefined;
  }

  #writeTime(row: number, value: unknown): ValueFault | undefined {
    if (typeof value === 'string') return this.#writeTimeText(row, value);
    if (value instanceof Date) return isNaN(+value) ? 'wrong_type' : this.#writeMs(row, +value, 0);
    if (this.type === Type.Date) return 'wrong_type';
    if (typeof value === 'number') return value !== value ? 'nan' : this.#writeMs(row, value, 0);
    return this.#writeBig(row, value, 64);
  }

  #writeTimeText(row: number, text: string): ValueFault | undefined {
    if (this.type === Type.Date) {
      const ms = parseDate(text);
      return ms === undefined ? 'wrong_type' : this.#writeMs(row, ms, 0);
    }
    const time = parseTimestamp(text);
    return time ? this.#writeMs(row, time.ms, time.micros) : 'wrong_type';
  }

  /** Milliseconds since 1970 and microseconds on top, into a date or a timestamp. */
  #writeMs(row: number, ms: number, micros: number): ValueFault | undefined {
    if (!(Math.abs(ms) <= 8.64e15)) return 'out_of_range';
    if (this.type === Type.Date) this.setInt(row, Math.floor(ms / DAY_MS));
    else if (Math.abs(ms) < 9e12) this.setInt(row, Math.round(ms * 1000) + micros);
    else this.#setBig(row * 2, BigInt(Math.round(ms)) * 1000n + BigInt(micros));
    return undefined;
  }

  #writeBytes(row: number, value: unknown): ValueFault | undefined {
    const { type } = this;
    const texts = this.#texts;
    let handle: number;
    if (type === Type.Text) {
      const text = value instanceof Interned ? value.value : value;
      if (typeof text !== 'string') return 'wrong_type';
      if (this.#isTooLong(text)) return 'too_long';
      handle = value === text ? texts.text(text) : texts.interned(value as Interned);
    } else {
      const bytes = type === Type.Uuid ? uuidBytes(value) : value;
      if (!(bytes instanceof Uint8Array)) return 'wrong_type';
      if (bytes.length > this.#limit) return 'too_long';
      handle = texts.bytes(bytes);
    }
    this.#i32[row] = handle;
    return undefined;
  }

  /** By bytes of UTF-8; counted only when the number of characters leaves it open. */
  #isTooLong(text: string): boolean {
    if (text.length * 3 <= this.#limit) return false;
    return text.length > this.#limit || new TextEncoder().encode(text).length > this.#limit;
  }

  #writeDecimal(row: number, value: unknown): ValueFault | undefined {
    if (value !== value) return 'nan';
    const units = decimalUnits(value, this.#scale);
    if (units === undefined) return 'wrong_type';
    const max = 10n ** BigInt(this.#precision);
    if (units >= max || units <= -max) return 'out_of_range';
    this.#setBig(row * 4, units);
    this.#setBig(row * 4 + 2, units >> 64n);
    return undefined;
  }

  #writeInterval(row: number, value: unknown): ValueFault | undefined {
    const parts = Object.keys(value as Interval);
    if (!parts.length || parts.some((part) => !INTERVAL.includes(part))) return 'wrong_type';
    const { months = 0, days = 0, micros = 0 } = value as Interval;
    if (!Number.isSafeInteger(micros) || (months | 0) !== months || (days | 0) !== days) return 'wrong_type';
    this.#i32[row * 4] = months;
    this.#i32[row * 4 + 1] = days;
    this.setInt(row * 2 + 1, micros);
    return undefined;
  }

  /** The low 64 bits of `value` into words `at` and `at + 1`. */
  #setBig(at: number, value: bigint): void {
    this.#i32[at] = Number(BigInt.asIntN(32, value));
    this.#i32[at + 1] = Number(BigInt.asIntN(32, value >> 32n));
  }
}

function uuidBytes(value: unknown): Uint8Array | undefined {
  if (typeof value !== 'string') return undefined;
  const hex = value.replaceAll('-', '');
  if (!/^[0-9a-f]{32}$/i.test(hex)) return undefined;
  return Uint8Array.from(hex.match(/../g)!, (pair) => parseInt(pair, 16));
}

/**
 * `value` in units of 10^-scale, rounded half away from zero; undefined when it is not a decimal number. Of a number
 * that is no whole one 15 digits count, as for the native client.
 */
export function decimalUnits(value: unknown, scale: number): bigint | undefined {
  if (typeof value === 'bigint') return value * 10n ** BigInt(scale);
  if (typeof value === 'number') value = Number.isSafeInteger(value) ? `${value}` : value.toPrecision(15);
  if (typeof value !== 'string') return undefined;
  const parts = /^([+-]?)(\d*)\.?(\d*)(?:e([+-]?\d{1,3}))?$/i.exec(value.trim());
  if (!parts || !(parts[2] || parts[3])) return undefined;
  const shift = scale + Number(parts[4] ?? 0) - parts[3].length;
  let units = BigInt(parts[2] + parts[3]);
  if (shift >= 0) units *= 10n ** BigInt(shift);
  else {
    const divisor = 10n ** BigInt(-shift);
    units = (units + divisor / 2n) / divisor;
  }
  return parts[1] === '-' ? -units : units;
}
