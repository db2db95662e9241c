/**
 * What became of events, by where they are.
 *
 * Owns: the order of the module's counters. Must not know: who counts.
 */

/**
 * How many numbers `Engine::counters` gives, and one more: events delivered, in the outbox, in doubt; batches sent, resent,
 * acked; bytes sent; oversized groups; of the events in the outbox those that may have left ({@link TRANSMITTED}); events
 * that ended here, by {@link ENDS}; and, counted in JavaScript, those that ended with a module.
 */
export const COUNTERS = 12;

/** Reasons of the outbox for events that ended here. */
export const ENDS = ['outbox_full', 'refused'];

/**
 * The hub's reasons for events that were given up in JavaScript, by the tags of `DropReason` (`sdk/src/wire/batch.rs`).
 * What is not listed is the event's own fault.
 */
export const REASONS: Record<string, number> = { invalid: 1, waiting_full: 2, closed: 7, unknown_stream: 7, stream_gone: 9 };

/** Where events are that may have left; dropped ones follow. */
export const TRANSMITTED = 8;

/** Events that were taken and then dropped. */
export function droppedEvents(counts: Float64Array): number {
  return counts.slice(TRANSMITTED + 1).reduce((sum, count) => sum + count, 0);
}

/** Events that left the rollup, wherever they are now. */
export function frozen(counts: Float64Array): number {
  return counts[0] + counts[1] + counts[2] + droppedEvents(counts);
}
