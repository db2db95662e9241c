/**
 * Time without going backwards, but for clocks that were set.
 *
 * Owns: the page's clock. Must not know: the hub's (the session machine corrects by it).
 */

/** Whole microseconds since 1970 by this machine, monotonic within the page. */
export function localMicros(): number {
  return Math.round((performance.timeOrigin + performance.now()) * 1000);
}

/** A correction backwards by more is a step, not a drift that is waited out (`sdk/src/clock.rs`). */
const STEP_MICROS = 1_000_000;
/** Events that may share one reading of the clock. */
const SHARED_MAX = 256;

/** Reads the clock once per turn of the event loop, or every 256 events: a reading costs more than an event. */
export class TurnClock {
  #micros = 0;
  #left = 0;
  #isArmed = false;

  /** The time of an event that happens now, plus `offset`; not earlier than the one before, unless a clock was set back. */
  now(offset: number): number {
    if (--this.#left < 0) this.#read(offset);
    return this.#micros;
  }

  #read(offset: number): void {
    const now = localMicros() + offset;
    this.#micros = this.#micros - now > STEP_MICROS ? now : Math.max(this.#micros, now);
    this.#left = SHARED_MAX;
    if (this.#isArmed) return;
    this.#isArmed = true;
    queueMicrotask(() => {
      this.#isArmed = false;
      this.#left = 0;
    });
  }
}
