/**
 * What became of events, by where they are.
 *
 * Owns: the order of the module's counters. Must not know: who counts.
 */

/**
 * What `Engine::counters` gives, in order. Up to `bytesSent` they are `Stats`; then events that ended here, by the
 * reasons of the outbox, and (counted in JavaScript) with a module.
 */
export const COUNTERS = [
  'delivered', 'inOutbox', 'inDoubt', 'sent', 'resent', 'acked', 'bytesSent', 'outbox_full', 'refused', 'forfeited',
] as const;

/** Events that left the rollup, wherever they are now. */
export function frozen(counts: Float64Array): number {
  let sum = counts[0] + counts[1] + counts[2];
  for (let i = 7; i < counts.length; i++) sum += counts[i];
  return sum;
}
