/**
 * Drives one producer: moves frames between the session machine in the module and the transport.
 *
 * Owns: timers, requests in flight, the watch for new plans, flush barriers. Must not know: events, columns.
 * The machine decides everything about the protocol (`sdk/src/session`): what to send, when to send it again,
 * how long to wait. An HTTP "connection" is a signal: any failed request but a watch aborts it and what else was asked on
 * it, but for batches, and the machine starts the next one when its back-off has passed. Each open one has a watch of its
 * own, which only waits longer when it fails: proxies that know no long polls must not stop batches.
 */
import { localMicros } from './clock.ts';
import type { Engine } from './engine.ts';
import { HeadwaterError } from './errors.ts';
import { COUNTERS } from './ledger.ts';
import type { Transport, TransportError } from './transport.ts';

/** What a producer tells its client. */
export interface ProducerHooks {
  /** The plans changed: tables must be made again. The hub does not have the streams of `unknown`. */
  onPlans(unknown: string[]): void;
  /** What to add to this machine's clock to get the hub's, microseconds; before the plans that came with it. */
  onClock(offset: number): void;
  /** The plans need the module with every aggregate. */
  onNeedsFull(): void;
  /** Something that users should hear of. */
  onError(error: HeadwaterError): void;
}

/** The kind of a batch frame: its second byte. */
const BATCH = 6;
/** The longest wait for an answer, milliseconds: a hub without news ends a watch after 25 s. Half lost is lost. */
const ANSWER_MS = 60_000;
/**
 * The longest that a hub, or what stands before it, may ask for silence: one bad header must not end sending. No timer waits
 * longer, so none ends at once.
 */
const PAUSE_MS_MAX = 60_000;
/** A connection that held for so long ended an outage; one that fails before is part of it. */
const OUTAGE_MS = 10_000;
/** A watch that ends before and brought no plans is no long poll, whatever it said: the next ones wait longer and longer. */
const WATCH_MS_MIN = 10_000;
/** The wait between two watches; plans that come faster are taken together. */
const WATCH_PAUSE_MS = 100;
/** The longest: that late a page may hear of plans behind something that answers no long polls. */
const WATCH_PAUSE_MS_MAX = 30_000;

/** What the module leaves to JavaScript to say. */
const MESSAGES: Record<string, string> = {
  outbox_full: 'batches were dropped to make room',
  in_doubt: 'the hub forgot this producer: what was sent may or may not be counted',
  unsupported_plan: 'a view needs a newer package',
};

interface Waiter {
  batch: number;
  level: number;
  resolve: () => void;
  reject: (error?: HeadwaterError) => void;
}

/** One engine with its connection. */
export class Producer {
  /** `connecting`, `open` or `waiting`, as in `Stats.state`. */
  state: 'connecting' | 'open' | 'waiting' = 'connecting';
  readonly engine: Engine;
  readonly #transport: Transport;
  readonly #hooks: ProducerHooks;
  readonly #abort = new AbortController();
  #connection = new AbortController();
  /** Streams that the hub does not have, by the answer that is being read. */
  #unknown: string[] = [];
  #known: Float64Array = new Float64Array(COUNTERS);
  #waiters: Waiter[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #watching: ReturnType<typeof setTimeout> | undefined;
  #failed: HeadwaterError | undefined;
  /** The hub asked for no attempt before, by `performance.now`. */
  #pausedUntil = 0;
  /** When the connection opened, by `performance.now`. */
  #openedAt = 0;
  #reported = false;
  /** How often plans came. */
  #news = 0;

  constructor(engine: Engine, transport: Transport, hooks: ProducerHooks) {
    this.engine = engine;
    this.#transport = transport;
    this.#hooks = hooks;
  }

  /** Does what is due, at the start and later; the session machine asks for a connection at once. */
  start(): void {
    this.engine.invoke((x, at) => x.engine_handle_timeout(at, localMicros()));
    this.pump();
  }

  /** True when a flush would leave at once. */
  get isHungry(): boolean {
    return !!this.engine.invoke((x, at) => x.engine_is_hungry(at, localMicros()));
  }

  /** Freezes what was evaluated; gives the number of the newest batch. */
  flush(): number {
    this.engine.pushAll();
    const batch = this.engine.invoke((x, at) => x.engine_flush(at, localMicros())) ?? 0;
    this.pump();
    return batch;
  }

  /** Resolves when everything evaluated before is safe at `level`, or was given up: then the counters have it. */
  barrier(level: number): Promise<void> {
    const batch = this.flush();
    this.engine.invoke((x, at) => x.engine_require(at, batch, level));
    return new Promise((resolve, reject) => {
      if (this.#failed) return reject(this.#failed);
      this.#waiters.push({ batch, level, resolve, reject });
      this.pump();
    });
  }

  /** Runs the machine: sends what it has, reads what it says, sets its timer. */
  pump(): void {
    if (this.#abort.signal.aborted) return;
    for (let event; (event = this.engine.takeText((x, at) => x.engine_poll_event(at))); ) this.#hear(event.split('\0'));
    for (let frame; (frame = this.engine.takeBytes((x, at) => x.engine_poll_transmit(at, localMicros()))); ) {
      // Before it leaves: should the module trap next, the books must know.
      this.counters();
      void this.#send(frame);
    }
    this.counters();
    this.#settle();
    clearTimeout(this.#timer);
    const due = this.engine.invoke((x, at) => x.engine_poll_timeout(at)) ?? Infinity;
    if (due === Infinity) return;
    const delay = Math.max((due - localMicros()) / 1000, this.#pausedUntil - performance.now());
    this.#timer = setTimeout(() => this.start(), Math.min(Math.ceil(delay), PAUSE_MS_MAX));
  }

  /** The module's counters; the last known ones after a trap. */
  counters(): Float64Array {
    return (this.#known = this.engine.takeNumbers((x, at) => x.engine_counters(at)) ?? this.#known);
  }

  /** Stops everything; what is unsent stays unsent, and barriers that wait are told why. */
  close(error?: HeadwaterError): void {
    this.#abort.abort();
    this.#hangUp();
    clearTimeout(this.#timer);
    this.#failed = error;
    for (const { reject } of this.#waiters.splice(0)) reject(error);
    this.engine.free();
  }

  /** Ends the connection. */
  #hangUp(): void {
    this.#connection.abort();
    clearTimeout(this.#watching);
    if (this.state === 'open' && performance.now() - this.#openedAt > OUTAGE_MS) this.#reported = false;
    this.state = 'waiting';
  }

  /** The machine wants a connection: over HTTP that is a new signal. */
  #connect(): void {
    this.#connection = new AbortController();
    this.state = 'connecting';
    this.engine.invoke((x, at) => x.engine_handle_connected(at, localMicros()));
  }

  /** Sends a frame, takes its answer; a failure ends the connection unless it was a watch's. */
  async #send(frame: Uint8Array, path?: string): Promise<void> {
    if (this.#abort.signal.aborted) return;
    const connection = this.#connection.signal;
    // A late answer to a batch is still true; any other belongs to a conversation that has ended.
    const isBatch = frame[1] === BATCH;
    const limit = new AbortController();
    const end = () => limit.abort();
    const timer = setTimeout(end, ANSWER_MS);
    connection.addEventListener('abort', end, { signal: limit.signal });
    try {
      const answer = await this.#transport.send(frame, { path, signal: (isBatch ? this.#abort : limit).signal });
      if (isBatch || !connection.aborted) this.#take(answer);
    } catch (error) {
      if (!path && !connection.aborted) this.#disconnected(error as TransportError);
    }
    clearTimeout(timer);
    end();
    this.pump();
  }

  #take(bytes: Uint8Array | null): void {
    if (!bytes || this.#abort.signal.aborted) return;
    const { engine } = this;
    const error = engine.takeText((x, at) => x.engine_handle_frames(at, ...engine.lend(bytes), localMicros()));
    if (error) {
      const [code, message] = error.split('\0');
      throw new HeadwaterError(code, message || 'the hub broke the protocol');
    }
    this.#hooks.onClock(engine.invoke((x, at) => x.engine_clock_offset(at)) ?? 0);
  }

  #disconnected(error: TransportError): void {
    this.#hangUp();
    this.#pausedUntil = performance.now() + Math.min(error.retryAfterMs || 0, PAUSE_MS_MAX);
    this.engine.invoke((x, at) => x.engine_handle_disconnected(at, localMicros()));
    // Once per outage: retrying is this client's business, knowing is the user's.
    if (!this.#reported) this.#hooks.onError(error);
    this.#reported = true;
  }

  /** Events of the machine: see `Engine::poll_event` in `bindings/src/lib.rs`. */
  #hear([name, text, message = MESSAGES[text]]: string[]): void {
    if (name === 'connect') this.#connect();
    else if (name === 'open') {
      this.state = 'open';
      this.#openedAt = performance.now();
      void this.#watch(0);
    } else if (name === 'offline') this.#hangUp();
    else if (name === 'unknown') this.#unknown.push(text);
    else if (name === 'plans') {
      this.#news++;
      this.#hooks.onPlans(this.#unknown.splice(0));
    } else if (name === 'needs_full') this.#hooks.onNeedsFull();
    else this.#hooks.onError(new HeadwaterError(text, message));
  }

  #settle(): void {
    this.#waiters = this.#waiters.filter(({ batch, level, resolve }) => {
      if (!this.engine.invoke((x, at) => x.engine_has_reached(at, batch, level))) return true;
      resolve();
      return false;
    });
  }

  /** Long-polls for plans while this connection is open; `idle` polls in a row ended early and without any. */
  async #watch(idle: number): Promise<void> {
    const { signal } = this.#connection;
    const frame = this.engine.takeBytes((x, at) => x.engine_watch_body(at));
    if (!frame) return;
    const news = this.#news;
    const start = performance.now();
    await this.#send(frame, '/v1/watch');
    if (signal.aborted) return;
    idle = news === this.#news && performance.now() - start < WATCH_MS_MIN ? idle + 1 : 0;
    const pause = Math.min(WATCH_PAUSE_MS * 2 ** idle, WATCH_PAUSE_MS_MAX) * (0.5 + Math.random() / 2);
    this.#watching = setTimeout(() => void this.#watch(idle), pause);
  }
}
