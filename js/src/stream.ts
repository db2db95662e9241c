/**
 * Handles by which users emit.
 *
 * Owns: {@link Stream} and {@link Writer}, the public faces of one stream. Must not know: engines, transports.
 */
import type { ColumnValues } from './column.ts';
import type { Interned } from './dictionary.ts';
import type { HeadwaterError } from './errors.ts';
import type { Fault, Table } from './table.ts';
import type { EventOf, EventValues, Value } from './types.ts';

/** What a stream needs of its client. */
export interface Sink {
  /** Takes one event; see `Client.emit`. */
  emit(stream: string, event: EventValues): HeadwaterError | undefined;
  /** Takes events by column; see {@link Stream.columns}. */
  emitColumns(stream: string, columns: Record<string, ColumnValues>): HeadwaterError | undefined;
  /** The place for rows, when module and plans are there. */
  table(stream: string): Table | undefined;
  /** The time of an event that happens now, hub-corrected, microseconds. */
  eventMicros(): number;
  /** Counts an event that a writer has put, or failed to put, into a table. */
  written(stream: string, fault: Fault | undefined): HeadwaterError | undefined;
  /** Registers a string. */
  intern(value: string): Interned;
}

/**
 * A stream, bound to its client. Made by `Client.stream`.
 *
 * @typeParam E - the columns, for type checking only: `hw.stream<{ url: string; ms: number }>('views')`.
 */
export class Stream<E extends EventOf<E> = EventValues> {
  /** Its name, as SQL folds it. */
  readonly name: string;
  readonly #sink: Sink;

  /** @internal */
  constructor(sink: Sink, name: string) {
    this.#sink = sink;
    this.name = name;
  }

  /** Takes one event. Never blocks, never throws; see `Client.emit`. */
  emit(event: E): HeadwaterError | undefined {
    return this.#sink.emit(this.name, event as EventValues);
  }

  /**
   * Takes many events by column: arrays of one length (else all are refused, `wrong_type`), one per column; columns
   * left out are NULL. Fast with
   * `Float64Array` for double precision and `Uint32Array` of {@link Interned.id} for text. Bad rows are counted
   * and left out; the others are taken.
   *
   * @returns the first error, or undefined when all rows were taken.
   */
  columns(columns: { [K in keyof E]?: ColumnValues }): HeadwaterError | undefined {
    return this.#sink.emitColumns(this.name, columns as Record<string, ColumnValues>);
  }

  /** A writer for events that always have the same columns, in this order: no objects on the hot path. */
  writer(...columns: (keyof E & string)[]): Writer {
    return new Writer(this.#sink, this.name, columns);
  }

  /** Registers a string that many events name; works for every stream of this client. */
  intern(value: string): Interned {
    return this.#sink.intern(value);
  }
}

/** Emits events by position. Made by {@link Stream.writer}. */
export class Writer {
  readonly #sink: Sink;
  readonly #name: string;
  readonly #columns: readonly string[];
  #table: Table | undefined;
  #at: number[] = [];
  #rest: number[] = [];

  /** @internal */
  constructor(sink: Sink, name: string, columns: readonly string[]) {
    this.#sink = sink;
    this.#name = name;
    this.#columns = columns;
  }

  /**
   * Takes one event, `values[i]` for the writer's column `i`: missing ones are NULL, more than columns are ignored. Never
   * blocks, never throws.
   */
  emit(...values: Value[]): HeadwaterError | undefined {
    if (!this.#table?.live && !this.#bind()) return this.#emitSlowly(values);
    const fault = this.#table!.emitAt(this.#at, values, this.#rest, this.#sink.eventMicros());
    return this.#sink.written(this.#name, fault);
  }

  /** False without a table, or when the stream lacks a column: the slow path then says so. */
  #bind(): boolean {
    const table = this.#sink.table(this.#name);
    if (!table) return false;
    const at = this.#columns.map((name) => table.column(name));
    if (at.includes(undefined)) return false;
    this.#at = at as number[];
    this.#rest = table.others(this.#at);
    this.#table = table;
    return true;
  }

  #emitSlowly(values: Value[]): HeadwaterError | undefined {
    const event: EventValues = {};
    this.#columns.forEach((name, i) => (event[name] = values[i]));
    return this.#sink.emit(this.#name, event);
  }
}
