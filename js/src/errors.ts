/**
 * Conditions with stable codes.
 *
 * Owns: the codes and the one error class. Must not know: who raises them.
 */

/** What is wrong with one value. `undefined` means nothing. The message of `too_long` has the column's limit in bytes. */
export type ValueFault = 'wrong_type' | 'nan' | 'out_of_range' | 'too_long';

/**
 * Stable codes. Errors of the hub carry the hub's own code (`refused` batches: `malformed`, `expired`, ...;
 * SQL: the SQLSTATE), so this list is open.
 */
export type ErrorCode =
  /** `connect` or `flush` was given something else than it takes. */
  | 'invalid_argument'
  /** The event is not an object of columns. */
  | 'not_a_row'
  /** The stream has no such column. */
  | 'unknown_column'
  /** The hub has no such stream (yet); events wait for it while the buffer has room. */
  | 'unknown_stream'
  | ValueFault
  /** The stream was dropped. Its events are refused until it is made again; those that it held are dropped. */
  | 'stream_gone'
  /** The buffer for events before the first plans was full. */
  | 'waiting_full'
  /** The outbox was full: its oldest batches were dropped. */
  | 'outbox_full'
  /** Some of the events that `emit` took were dropped or are in doubt: `dropped` and `inDoubt` say how many. */
  | 'lost'
  /** Groups were too large for a batch and were left out of their views: `Stats.oversizedGroups`. */
  | 'oversized'
  /** The hub has forgotten this producer: batches that were sent may or may not be counted. */
  | 'in_doubt'
  /** A view needs a newer package; the others go on. */
  | 'unsupported_plan'
  /** The client was closed: it takes no events and no queries. */
  | 'closed'
  /** The WASM module could not be loaded. */
  | 'wasm_unavailable'
  /**
   * The WASM module trapped. What it held is counted as dropped, or in doubt where it may have left; a new one takes later
   * events, unless that happens for a fourth time within ten minutes.
   */
  | 'wasm_trapped'
  /** The hub was not reached, or answered with something else than Headwater. Events are sent again, queries are not. */
  | 'unreachable'
  /** The `signal` of a query was aborted; its reason is the `cause`. */
  | 'aborted'
  /** The time for a `flush` ran out: sending goes on, nothing is lost. Or for a `query`: it may have been executed. */
  | 'timeout'
  /** Bytes from the hub could not be read. */
  | 'malformed'
  | (string & {});

/** An error with a stable {@link ErrorCode}. Returned by `emit`, given to `onError`, rejected by promises. */
export class HeadwaterError extends Error {
  /** The stable code. */
  readonly code: ErrorCode;
  /** The stream, where one is concerned. */
  readonly stream?: string;
  /** The column, where one is concerned. */
  readonly column?: string;
  /** 1-based character position in the SQL text, where the hub gives one. */
  readonly position?: number;
  /** What to try, where the hub knows. */
  readonly hint?: string;
  /** Events dropped, with the code `lost`. */
  readonly dropped?: number;
  /** Events in doubt, with the code `lost`. */
  readonly inDoubt?: number;

  /** @internal */
  constructor(
    code: ErrorCode,
    message: string,
    more?: Partial<Pick<HeadwaterError, 'stream' | 'column' | 'position' | 'hint' | 'dropped' | 'inDoubt' | 'cause'>>,
  ) {
    super(`${code}: ${message}`, more);
    this.name = 'HeadwaterError';
    this.code = code;
    Object.assign(this, more);
  }
}
