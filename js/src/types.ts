/**
 * What users hand in and get back.
 *
 * Owns: public types that no single module owns. Must not know: how anything is done.
 */
import type { Interned } from './dictionary.ts';

/** An interval as PostgreSQL keeps it: three parts that do not convert into each other. */
export interface Interval {
  /** Whole months. */
  months?: number;
  /** Whole days. */
  days?: number;
  /** Microseconds; a safe integer. */
  micros?: number;
}

/**
 * One value of an event. `null` and `undefined` are SQL NULL.
 *
 * | column | takes |
 * | --- | --- |
 * | boolean | `boolean` |
 * | smallint, integer, bigint | whole `number` (safe), `bigint` |
 * | real, double precision | `number`; NaN is refused, and in a real what would be 0 or infinite by rounding |
 * | numeric(p, s) | `number`, `bigint`, decimal `string`; rounded half away from zero to `s` digits |
 * | text | `string`, {@link Interned} |
 * | bytea | `Uint8Array` |
 * | uuid | `string` of 32 hex digits, dashes allowed |
 * | date | `Date` (its UTC day), `'YYYY-MM-DD'` |
 * | timestamptz | `Date`, `number` of milliseconds, `bigint` of microseconds, ISO 8601 `string`: without an offset it is UTC |
 * | interval | {@link Interval}: at least one of its members, and no others |
 */
export type Value = boolean | number | bigint | string | Uint8Array | Date | Interval | Interned | null | undefined;

/**
 * An event: values by column name. Columns left out are NULL. `arrival_timestamp` may be given as a
 * timestamptz; without it, it is now, by the hub's clock.
 */
export type EventValues = Record<string, Value>;

/** What an object type must be to be an event. An interface fits, which has no index signature as {@link EventValues} has. */
export type EventOf<E> = object & { [K in keyof E & string]?: Value };

/** How safe a batch is: in the hub's memory, fsynced at the primary, fsynced at every in-sync replica. */
export type AckLevel = 'received' | 'durable' | 'replicated';

/** One column of an answer. */
export interface ColumnInfo {
  /** The name. */
  name: string;
  /** The SQL type, as the hub writes it. */
  type: string;
}

/** Rows of an answer: an array of objects, with the columns beside it. */
export type Rows<T> = T[] & {
  /** Names and types, in the order of the SELECT list. */
  readonly columns: readonly ColumnInfo[];
};

/**
 * The ledger of this client. Every event is in exactly one place:
 * `emitted = pending + held + inOutbox + delivered + dropped + inDoubt`.
 */
export interface Stats {
  /** Events given to `emit` and `columns`, good and bad. */
  emitted: number;
  /** Events waiting in JavaScript for the WASM module or for plans. */
  pending: number;
  /** Events merged into partials that are not frozen yet. */
  held: number;
  /** Events in frozen batches that the hub has not acknowledged. */
  inOutbox: number;
  /** Events in acknowledged batches. */
  delivered: number;
  /** Events given up, or refused at `emit`, by reason ({@link ErrorCode} and the hub's codes). The hub is told of them. */
  dropped: Record<string, number>;
  /**
   * Events in batches that may or may not have been counted: sent, and then the hub forgot this producer, the
   * client was closed or the module trapped before the hub acknowledged them.
   */
  inDoubt: number;
  /** Batches sent, sent again, acknowledged. */
  batches: { sent: number; resent: number; acked: number };
  /** Bytes of batch frames sent, repeats included. */
  bytesSent: number;
  /**
   * Groups that no batch can hold, and that were left out of their views: keep shorter keys, or less in their states. Groups
   * are no events: an event's other groups may well be in batches.
   */
  oversizedGroups: number;
  /** The hub's clock minus this machine's, milliseconds; 0 until known, and asked for every minute. */
  clockOffsetMs: number;
  /** `idle` before the first event, then `connecting`, `open` while the hub answers, `waiting` between attempts, `closed`. */
  state: 'idle' | 'connecting' | 'open' | 'waiting' | 'closed';
  /** Which module evaluates: none yet, the small one, the one with every aggregate, or, until there is another, one that trapped. */
  module: 'none' | 'core' | 'full' | 'trapped';
}
