/**
 * Events that wait for the WASM module or for their stream's plans.
 *
 * Owns: a bounded queue of copies. Must not know: why they wait.
 * Invariant: at most `rowsMax` rows; what does not fit is refused by {@link Pending.add}, never by dropping others.
 */
import type { ColumnValues } from './column.ts';
import type { EventValues } from './types.ts';

/** What waits: one event, or columns of several. */
export interface Waiting {
  /** When it happened, by this machine's clock, microseconds. */
  happenedAt: number;
  /** How many events. */
  rows: number;
  /** One event. */
  event?: EventValues;
  /** Several. */
  columns?: Record<string, ColumnValues>;
}

/** A queue per stream. */
export class Pending {
  /** Events in all queues. */
  rows = 0;
  readonly #queues = new Map<string, Waiting[]>();
  readonly #rowsMax: number;

  constructor(rowsMax: number) {
    this.#rowsMax = rowsMax;
  }

  /** Takes `waiting`, which must be the caller's own copy; false when it does not fit. */
  add(stream: string, waiting: Waiting): boolean {
    if (this.rows + waiting.rows > this.#rowsMax) return false;
    this.rows += waiting.rows;
    const queue = this.#queues.get(stream);
    if (queue) queue.push(waiting);
    else this.#queues.set(stream, [waiting]);
    return true;
  }

  /** The streams that wait. */
  streams(): string[] {
    return [...this.#queues.keys()];
  }

  /** Removes and gives what waits for a stream, oldest first. */
  take(stream: string): Waiting[] {
    const queue = this.#queues.get(stream) ?? [];
    this.#queues.delete(stream);
    for (const waiting of queue) this.rows -= waiting.rows;
    return queue;
  }

  /** Forgets everything; gives how many events that were. */
  clear(): number {
    const rows = this.rows;
    this.#queues.clear();
    this.rows = 0;
    return rows;
  }
}
