/**
 * The rows of one stream on their way into WASM memory.
 *
 * Owns: turning events into rows, whole or not at all. Must not know: plans, time, transports.
 * Invariants: a refused event leaves no trace; rows are pushed before the table is full.
 */
import { Column, type ColumnValues } from './column.ts';
import type { Dictionary } from './dictionary.ts';
import type { EventValues, Value } from './types.ts';

/** Words per column in a layout (`bindings/src/stage.rs`). */
const WORDS = 6;
/** The implied last column of every stream. */
export const ARRIVAL = 'arrival_timestamp';

/** Why a row was refused. */
export interface Fault {
  /** An `ErrorCode`. */
  code: string;
  /** The column. */
  column: string;
  /** Its type, and its longest value where that is the fault, when the stream has it. */
  type?: string;
}

/** What a table needs of its engine. */
export interface TableMemory {
  /** The module's memory, as it is now. */
  readonly buffer: ArrayBuffer;
  /** Rows that fit. */
  readonly rows: number;
  /** Evaluates the first `rows` rows of a table; afterwards it is empty. */
  push(table: number, rows: number): void;
}

/** One stream's rows. */
export class Table {
  /** Rows written and not pushed. */
  rows = 0;
  /** False once the engine has newer tables, or none. */
  live = true;
  readonly #columns: Column[];
  readonly #byName = new Map<string, number>();
  readonly #written: Uint8Array;
  readonly #arrival: Column;
  readonly #memory: TableMemory;
  readonly #index: number;

  constructor(memory: TableMemory, index: number, names: string[], layout: Float64Array, texts: Dictionary) {
    this.#memory = memory;
    this.#index = index;
    const flagsAt = layout[layout.length - 1];
    this.#columns = [...names, ARRIVAL].map((name, i) => {
      this.#byName.set(name, i);
      return new Column(name, i, layout.subarray(i * WORDS, i * WORDS + WORDS), flagsAt, memory.rows, texts, i === names.length);
    });
    this.#arrival = this.#columns[names.length];
    this.#written = new Uint8Array(this.#columns.length);
    this.view();
  }

  /** Makes views; again whenever the memory grew. */
  view(): void {
    for (const column of this.#columns) column.view(this.#memory.buffer);
  }

  /** The position of a column; undefined when there is none. */
  column(name: string): number | undefined {
    return this.#byName.get(name);
  }

  /** Adds an event that happened at `micros`, unless it says otherwise itself. */
  emit(event: EventValues, micros: number): Fault | undefined {
    const row = this.rows;
    const columns = this.#columns;
    const written = this.#written;
    written.fill(0);
    this.#arrival.setInt(row, micros);
    for (const name in event) {
      const at = this.#byName.get(name);
      if (at === undefined) return this.#refuse('unknown_column', name);
      const value = event[name];
      if (value === null || value === undefined) continue;
      const fault = columns[at].write(row, value);
      if (fault) return this.#refuse(fault, name, columns[at].expected(fault));
      written[at] = 1;
    }
    for (let i = columns.length - 2; i >= 0; i--) if (!written[i]) columns[i].setNull(row);
    this.#commit();
    return undefined;
  }

  /** Adds an event by position: `values[i]` goes to column `at[i]`, all others are NULL. */
  emitAt(at: readonly number[], values: readonly Value[], rest: readonly number[], micros: number): Fault | undefined {
    const row = this.rows;
    const columns = this.#columns;
    this.#arrival.setInt(row, micros);
    for (let i = 0; i < at.length; i++) {
      const column = columns[at[i]];
      const value = values[i];
      if (value === null || value === undefined) column.setNull(row);
      else {
        const fault = column.write(row, value);
        if (fault) return this.#refuse(fault, column.name, column.expected(fault));
      }
    }
    for (let i = 0; i < rest.length; i++) columns[rest[i]].setNull(row);
    this.#commit();
    return undefined;
  }

  /** The columns of the stream that are not in `at`. */
  others(at: readonly number[]): number[] {
    const all = this.#columns.map((_, i) => i).slice(0, -1);
    return all.filter((i) => !at.includes(i));
  }

  /** Adds many events by column; `refused` hears of each bad row. Gives the number taken. */
  emitColumns(
    data: Record<string, ColumnValues>, count: number, micros: number, refused: (fault: Fault) => void,
  ): number {
    const inputs: [Column, ColumnValues][] = [];
    for (const name in data) {
      const at = this.#byName.get(name);
      if (at === undefined) {
        for (let i = 0; i < count; i++) refused({ code: 'unknown_column', column: name });
        return 0;
      }
      inputs.push([this.#columns[at], data[name]]);
    }
    const missing = this.#columns.filter((column) => column !== this.#arrival && !(column.name in data));
    let taken = 0;
    for (let offset = 0; offset < count; ) {
      const room = Math.min(count - offset, this.#memory.rows - this.rows);
      const { good, fault } = this.#copyChunk(inputs, missing, offset, room, micros);
      taken += good;
      offset += good;
      this.rows += good;
      if (fault) {
        refused(fault);
        offset++;
      }
      if (this.rows >= this.#memory.rows) this.push();
    }
    return taken;
  }

  /** Evaluates what was written. */
  push(): void {
    const rows = this.rows;
    this.rows = 0;
    if (rows) this.#memory.push(this.#index, rows);
  }

  #copyChunk(
    inputs: [Column, ColumnValues][], missing: Column[], offset: number, room: number, micros: number,
  ): { good: number; fault?: Fault } {
    const row = this.rows;
    let good = room;
    let fault: Fault | undefined;
    this.#arrival.fillInt(row, room, micros);
    for (const column of missing) column.fillNull(row, room, true);
    for (const [column, values] of inputs) {
      const copied = column.copy(row, values, offset, good);
      if (copied < good) {
        good = copied;
        fault = { code: column.fault!, column: column.name, type: column.expected(column.fault) };
      }
    }
    if (good < room) for (const column of this.#columns) column.fillNull(row + good, room - good, false);
    return { good, fault };
  }

  #commit(): void {
    if (++this.rows >= this.#memory.rows) this.push();
  }

  #refuse(code: string, column: string, type?: string): Fault {
    for (const each of this.#columns) each.fillNull(this.rows, 1, false);
    return { code, column, type };
  }
}
