/**
 * What became of events, by where they are.
 *
 * Owns: the order of the module's counters. Must not know: who counts.
 */

/**
 * What `Engine::counters` gives, in order. Up to `bytesSent` they are `Stats`; `transmitted` are those events in the
 * outbox that may have left; then events that ended here, by the reasons of the outbox, and (counted in JavaScript)
 * with a module.
 */
export const COUNTERS = [
  'delivered', 'inOutbox', 'inDoubt', 'sent', 'resent', 'acked', 'bytesSent', 'transmitted', 'outbox_full', 'refused',
  'forfeited',
] as const;
/**
 * The hub's reasons for events that were given up in JavaScript, by the tags of `DropReason` (`sdk/src/wire/batch.rs`).
 * What is not listed is the event's own fault.
 */
export const REASONS: Record<string, number> = { invalid: 1, waiting_full: 2, closed: 7, unknown_stream: 7, stream_gone: 9 };

/** Where `transmitted` is; dropped events follow it. */
export const TRANSMITTED = 7;

/** Events that were taken and then dropped, but for those that a module took with it. */
export function droppedEvents(counts: Float64Array): number {
  return counts.slice(TRANSMITTED + 1, -1).reduce((sum, count) => sum + count, 0);
}

/** Events that left the rollup, wherever they are now. */
export function frozen(counts: Float64Array): number {
  let sum = counts[0] + counts[1] + counts[2];
  for (let i = TRANSMITTED + 1; i < counts.length; i++) sum += counts[i];
  return sum;
}
