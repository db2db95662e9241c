/**
 * The client: takes events, finds the module, keeps the books.
 *
 * Owns: {@link Client}, options, the ledger. Must not know: frames, memory layouts.
 * Invariants: nothing happens before the first event or flush; nothing here throws into the page; every event
 * is in exactly one column of {@link Stats}.
 */
import { localMicros, TurnClock } from './clock.ts';
import type { ColumnValues } from './column.ts';
import { type Interned, Pinned } from './dictionary.ts';
import type { Engine, Instance } from './engine.ts';
import { type ErrorCode, HeadwaterError } from './errors.ts';
import { COUNTERS, ENDS, REASONS, TRANSMITTED, droppedEvents, frozen } from './ledger.ts';
import type { WasmSource } from './module.ts';
import { Pending, type Waiting } from './pending.ts';
import type { Producer } from './producer.ts';
import { type QueryOptions, query } from './query.ts';
import { Stream } from './stream.ts';
import type { Fault, Table } from './table.ts';
import { Http, type Transport } from './transport.ts';
import type { AckLevel, EventOf, EventValues, Rows, Stats } from './types.ts';

/** Ack levels by the number that frames use. */
const LEVELS: AckLevel[] = ['received', 'durable', 'replicated'];
/** First and longest wait before the module is fetched again, milliseconds. */
const RELOAD_MS = [1_000, 60_000];
/** A module that trapped is replaced so often in so many milliseconds; who traps more often will go on to. */
const TRAPS_MAX = 3;
const TRAPS_MS = 600_000;
/** The longest that a timer can wait, milliseconds; a longer one would end at once. */
const TIMER_MAX = 2 ** 31 - 1;

/** Options of `Headwater.connect`. Others are ignored: TypeScript tells of misspelt ones, nothing else does. */
export interface ConnectOptions {
  /** The hub, for example `https://hub.example.com:7171`. */
  url: string;
  /** Streams to feed, so that their plans come with the first answer. Others are added when first used. */
  streams?: string[];
  /** A key or token, when the hub asks for one. */
  token?: string;
  /** How safe a batch must be before it leaves the outbox. Default `durable`. */
  ackLevel?: AckLevel;
  /** The oldest event waits at most this long before it is sent. Default 500 ms. */
  flushIntervalMs?: number;
  /** Events kept while the module or the plans are not there yet. Default 10,000; memory: this times an event. */
  pendingMax?: number;
  /** Hears of bad events, lost batches, outages. Must not throw; what it throws is dropped. */
  onError?: (error: HeadwaterError) => void;
  /**
   * Where the WASM modules are, when not beside this package: needed with `headwater/slim`. `core` is small and is
   * tried first; `full` is fast and has everything (in Node it is the only one, unless `core` is given here).
   */
  wasm?: { core?: WasmSource; full?: WasmSource };
  /** Another `fetch`. */
  fetch?: typeof globalThis.fetch;
  /** Another way to carry frames. Queries still use `fetch`. */
  transport?: Transport;
}

/** @internal Where an entry point finds modules. */
export type Sources = { core?: WasmSource; full?: WasmSource };

type Flavor = 'core' | 'full';

/**
 * A connection to a hub. Made by `connect` of the class `Headwater`, which each entry point exports.
 *
 * Once there was an event, an open client keeps a Node process alive, as an open connection does: {@link close} ends it.
 */
export class Client {
  readonly #options: ConnectOptions;
  /** Where modules are, and once compiled the modules themselves. */
  readonly #sources: Sources;
  readonly #http: Http;
  /** The number of `ackLevel`. */
  readonly #level: number;
  readonly #names: Set<string>;
  readonly #pinned = new Pinned();
  readonly #pending: Pending;
  readonly #clock = new TurnClock();
  readonly #dropped: Record<string, number> = {};
  /** Dropped events that the hub does not know of yet, by the tag of its reason. */
  readonly #untold = new Map<number, number>();
  /** Streams that the hub has said it does not have. */
  readonly #unknown = new Set<string>();
  /** Streams that were there: once unknown, they were dropped. */
  readonly #met = new Set<string>();
  /** Unknown streams for which a flush has asked again. */
  readonly #doubted = new Set<string>();
  readonly #draining = new Set<Producer>();
  readonly #past = new Float64Array(COUNTERS);
  #producer: Producer | undefined;
  #flavor: Flavor;
  #module: Stats['module'] = 'none';
  #state: 'idle' | 'started' | 'closed' = 'idle';
  #refusing: ErrorCode | undefined;
  #isOpening = false;
  /** When modules trapped. */
  #traps: number[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Streams to ask for at the end of this turn. */
  #wanted: string[] = [];
  #emitted = 0;
  #taken = 0;
  #offset = 0;
  #drained: (() => void)[] = [];
  /** Events that `emit` took and that never came into a batch. */
  #lost = 0;
  /** What {@link #givenUp} was when a flush last told of it. */
  #told = [0, 0, 0];
  /** What `onError` heard last, since a flush ended well. */
  #last: HeadwaterError | undefined;
  readonly #end = new AbortController();

  /** @internal */
  constructor(options: ConnectOptions, sources: Sources) {
    if (typeof options?.url !== 'string') throw new HeadwaterError('invalid_argument', 'connect takes { url: string }');
    this.#options = options;
    this.#level = levelOf(options.ackLevel);
    const core = options.wasm?.core ?? sources.core;
    const full = options.wasm?.full ?? sources.full;
    this.#sources = { core, full };
    this.#flavor = core || !full ? 'core' : 'full';
    this.#names = new Set(options.streams);
    this.#pending = new Pending(options.pendingMax ?? 10_000);
    this.#http = new Http(options.url, options.token, options.fetch ?? ((...args) => fetch(...args)));
  }

  /**
   * Takes one event: values by column name. Never blocks and never throws.
   *
   * @returns undefined when the event was taken, else why it was refused: `not_a_row`, `unknown_column`,
   * `wrong_type`, `nan`, `out_of_range`, `too_long`, `waiting_full`, `stream_gone`, `closed`, `wasm_unavailable`,
   * `wasm_trapped`.
   * The last two only when no module can be had or each new one traps, too.
   * Refused events are counted in {@link stats} and at the hub, and `onError` hears of them. Before the plans of its
   * stream are here an event is only buffered: what is wrong with it then, `onError`, the counters and {@link flush}
   * (as `lost`) say later.
   *
   * @typeParam E - the columns: any object type whose members are values, an interface as well.
   */
  emit<E extends EventOf<E>>(stream: string, event: E): HeadwaterError | undefined {
    this.#emitted++;
    const table = this.table(stream);
    try {
      if (!isRow(event)) return this.#refuse('not_a_row', stream, 1);
      if (table) return this.#booked(stream, table.emit(event as EventValues, this.eventMicros()));
      const kept: EventValues = { ...event };
      for (const name in kept) kept[name] = unchanging(kept[name]);
      return this.#wait(stream, { happenedAt: localMicros(), rows: 1, event: kept });
    } catch (cause) {
      return this.#refuse('wrong_type', stream, 1, undefined, cause); // a getter of the event threw
    }
  }

  /** A handle for one stream: shorter calls, column batches, writers. */
  stream<E extends EventOf<E> = EventValues>(name: string): Stream<E> {
    return new Stream<E>(this, name);
  }

  /** Registers a string that many events name, so that it crosses into the module once. */
  intern(value: string): Interned {
    return this.#pinned.intern(value);
  }

  /** @internal See `Stream.columns`. */
  emitColumns(stream: string, columns: Record<string, ColumnValues>): HeadwaterError | undefined {
    const lengths = isRow(columns) ? Object.values(columns).map(lengthOf) : [NONE];
    const rows = Math.max(0, ...lengths);
    if (lengths.some((length) => length !== rows)) {
      // Whatever it was, it was meant to be an event at least.
      this.#emitted += rows || 1;
      const type = 'columns of one length';
      return this.#refuse(isRow(columns) ? 'wrong_type' : 'not_a_row', stream, rows || 1, { type });
    }
    this.#emitted += rows;
    const table = this.table(stream);
    if (table) return this.#fill(stream, table, { happenedAt: this.eventMicros(), rows, columns });
    const copies = Object.entries(columns).map(([name, values]) => [name, copy(values)] as const);
    return this.#wait(stream, { happenedAt: localMicros(), rows, columns: Object.fromEntries(copies) });
  }

  /** @internal */
  table(stream: string): Table | undefined {
    return this.#producer?.engine.tables.get(stream);
  }

  /** @internal */
  eventMicros(): number {
    return this.#clock.now(this.#offset);
  }

  /** @internal Counts what the caller has put, or failed to put, into a table. `Writer` has not counted it before. */
  written(stream: string, fault: Fault | undefined): HeadwaterError | undefined {
    this.#emitted++;
    return this.#booked(stream, fault);
  }

  /**
   * A barrier: sends everything emitted before it and resolves once that is as safe as `level` says (default: the
   * client's `ackLevel`); a query then sees it.
   *
   * Rejects with `invalid_argument` for another level, `timeout` after `timeoutMs` (default 30,000; what is no number counts
   * as 0; the `cause` is what `onError` heard last, if anything since a flush ended well), `unknown_stream` when all but
   * the events of streams that the hub does not have is safe, `lost`, `closed`, `wasm_trapped`, `wasm_unavailable`. Nothing
   * is lost by `timeout` and `unknown_stream`: sending goes on, and events wait for their stream.
   *
   * `lost` says how many of the events that `emit` took were `dropped` (the hub refused their batch, the outbox was
   * full, their stream was dropped, they were buffered and turned out to be bad) or are `inDoubt` since a flush last
   * told; everything else is safe. What `emit` itself refused is no part of it.
   */
  async flush(level?: AckLevel, { timeoutMs = 30_000 }: { timeoutMs?: number } = {}): Promise<void> {
    const number = level ? levelOf(level) : this.#level;
    if (this.#state === 'idle' && !this.#pending.rows) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      const expire = () => {
        timer = undefined;
        reject(new HeadwaterError('timeout', 'not confirmed in time; sending goes on', { cause: this.#last }));
      };
      timer = setTimeout(expire, Math.min(timeoutMs, TIMER_MAX));
    });
    try {
      await Promise.race([late, this.#settled(number, () => timer)]);
      this.#last = undefined;
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Runs SQL at the hub; rows are objects by column name, and NULL is `null`.
   *
   * | type | value |
   * | --- | --- |
   * | boolean, text | `boolean`, `string` |
   * | smallint, integer, real, double precision | `number`, NaN and infinities too |
   * | bigint | `number` while that is safe, else `bigint` |
   * | numeric | `string`, exact; `emit` takes it back |
   * | bytea | `Uint8Array` |
   * | uuid, date | `string`, as `emit` takes them: `'2026-11-20'` has no time zone, which a `Date` has |
   * | timestamptz | `Date`, which ends at milliseconds: ask for `at::text` to have the microseconds; `string` after 9999 |
   * | interval | `string` as PostgreSQL writes it: `'1 mon 2 days 03:04:05.5'` |
   * | array, record | array and object of these |
   *
   * Rejects with the hub's code (an SQLSTATE), `position` and `hint`, or with `unreachable`, `timeout` (default
   * 30,000 ms) or `aborted` (whose `cause` is the signal's reason): the statement may then have been executed. With
   * `closed` once the client is.
   *
   * @typeParam T - the row type, for type checking only.
   */
  async query<T = Record<string, unknown>>(sql: string, options: QueryOptions = {}): Promise<Rows<T>> {
    if (this.#state === 'closed') throw closed();
    return query<T>(this.#http, sql, options);
  }

  /**
   * Flushes for at most `timeoutMs` (default 5,000), then ends the connection. What could not be delivered is counted
   * in the answer: as in doubt when it was sent and not acknowledged, else as dropped (`closed`, `unknown_stream`).
   *
   * Rejects, closed all the same, only with `unknown_stream`: events were given up because the hub has no such stream.
   * {@link stats} then has the counts.
   */
  async close({ timeoutMs = 5_000 }: { timeoutMs?: number } = {}): Promise<Stats> {
    const unknown = this.#state === 'started' ? await this.#finish(timeoutMs) : undefined;
    clearTimeout(this.#timer);
    this.#state = 'closed';
    this.#end.abort();
    this.#giveUp(closed());
    if (unknown) throw unknown;
    return this.stats();
  }

  /** The ledger, now. */
  stats(): Stats {
    const counts = this.#counts();
    const [delivered, inOutbox, inDoubt] = counts;
    const reasons = { ...this.#dropped };
    ENDS.forEach((name, i) => {
      const events = counts[TRANSMITTED + 1 + i];
      if (events) reasons[name] = (reasons[name] ?? 0) + events;
    });
    return {
      emitted: this.#emitted,
      pending: this.#pending.rows,
      held: this.#taken - frozen(counts),
      inOutbox,
      delivered,
      dropped: reasons,
      inDoubt,
      batches: { sent: counts[3], resent: counts[4], acked: counts[5] },
      bytesSent: counts[6],
      oversizedGroups: counts[7],
      clockOffsetMs: this.#offset / 1000,
      state: this.#state === 'started' ? (this.#producer?.state ?? 'connecting') : this.#state,
      module: this.#module,
    };
  }

  /** Opens the module and the connection, once. */
  #start(): void {
    if (this.#state !== 'idle') return;
    this.#state = 'started';
    void this.#open();
    const page = globalThis.document;
    const onChange = () => page.visibilityState === 'hidden' && this.#flush();
    page?.addEventListener('visibilitychange', onChange, { signal: this.#end.signal });
  }

  /** Loads the module until it is there; only what cannot change ends the attempts, when there is none yet. */
  async #open(): Promise<void> {
    if (this.#isOpening) return;
    this.#isOpening = true;
    const flavor = this.#flavor;
    for (let wait = RELOAD_MS[0]; this.#state === 'started'; wait = Math.min(wait * 2, RELOAD_MS[1])) {
      try {
        const source = this.#sources[flavor];
        if (!source) throw new WebAssembly.LinkError(`no ${flavor} module: see ConnectOptions.wasm`);
        const room = await import('./room.ts');
        const module = await room.compile(source);
        const instance = { exports: await room.load(module), trapped: false };
        this.#sources[flavor] = module;
        if (this.#state === 'started') this.#run(room, instance, flavor);
        this.#isOpening = false;
        return;
      } catch (cause) {
        const { CompileError, LinkError } = WebAssembly;
        const isFinal = [CompileError, LinkError, EvalError].some((kind) => cause instanceof kind);
        const error = new HeadwaterError('wasm_unavailable', String(cause), { cause });
        if (wait === RELOAD_MS[0]) this.#report(error);
        // A page that has a module goes on with it, and with the plans that it has.
        if (isFinal && !this.#producer) return this.#giveUp(error);
        await new Promise((resolve) => setTimeout(resolve, wait * (0.5 + Math.random())));
      }
    }
  }

  #run(room: typeof import('./room.ts'), instance: Instance, flavor: Flavor): void {
    let made: Producer | undefined;
    const onTrap = (cause: unknown) => this.#trapped(made, cause);
    const engine = new room.Engine(instance, this.#pinned, this.#options.token ?? '', this.#level, localMicros(), onTrap);
    if (instance.trapped) return;
    const producer = new room.Producer(engine, this.#options.transport ?? new room.HttpFrames(this.#http), {
      onPlans: (unknown) => this.#planned(producer, unknown),
      onClock: (offset) => (this.#offset = offset),
      onNeedsFull: () => this.#upgrade(producer),
      onError: (error) => this.#report(error),
    });
    made = producer;
    const old = this.#producer;
    this.#producer = producer;
    this.#module = flavor;
    if (old) this.#drain(old);
    this.#ask(engine, this.#names);
    producer.start();
  }

  /** Tells the session which streams are wanted, or wanted still. */
  #ask(engine: Engine, names: Iterable<string>): void {
    for (const name of names) engine.invoke((x, at) => x.engine_add_stream(at, ...engine.lend(name), localMicros()));
  }

  /** New plans: rows so far belong to the old ones. */
  #planned(producer: Producer, unknown: string[]): void {
    const { engine } = producer;
    engine.pushAll();
    const gone = engine.invoke((x, at) => x.engine_apply_plans(at)) ?? 0;
    this.#taken -= gone;
    this.#lose('stream_gone', gone);
    if (producer !== this.#producer) return;
    engine.bind();
    for (const stream of this.#pending.streams()) {
      const table = this.table(stream);
      if (!table) continue;
      for (const waiting of this.#pending.take(stream)) {
        // One before it may have trapped: the next module gets the others.
        if (!table.live) this.#pending.add(stream, waiting);
        else {
          this.#lost += waiting.rows + this.#taken;
          this.#fill(stream, table, { ...waiting, happenedAt: waiting.happenedAt + this.#offset });
          this.#lost -= this.#taken;
        }
      }
    }
    this.#miss(engine, unknown);
    if (this.#untold.size) this.#arm();
    if (this.#isAnswered) for (const resolve of this.#drained.splice(0)) resolve();
  }

  /** Remembers, and says once, which streams the hub does not have, or has no longer. */
  #miss(engine: Engine, unknown: string[]): void {
    for (const stream of engine.tables.keys()) {
      this.#unknown.delete(stream);
      this.#met.add(stream);
    }
    for (const stream of unknown) {
      this.#doubted.delete(stream);
      if (this.#unknown.has(stream)) continue;
      this.#unknown.add(stream);
      if (this.#met.has(stream)) this.#part(stream);
      else this.#report(missing([stream], 'its events wait'));
    }
  }

  /** The stream was dropped, and its views with it: nothing can count what waits for it. */
  #part(stream: string): void {
    for (const { rows } of this.#pending.take(stream)) this.#lose('stream_gone', rows);
    const message = `stream ${stream} was dropped: its events are refused`;
    this.#report(new HeadwaterError('stream_gone', message, { stream }));
  }

  /** True when the hub has said of every stream with waiting events that it does not have it. */
  get #isAnswered(): boolean {
    return this.#pending.streams().every((stream) => this.#unknown.has(stream) && !this.#doubted.has(stream));
  }

  /** A plan needs the other module. Until it is there, the core goes on with the plans it has. */
  #upgrade(producer: Producer): void {
    if (this.#flavor === 'full' || producer !== this.#producer) return;
    this.#flavor = 'full';
    void this.#open();
  }

  /** Lets an old producer deliver what it holds, then ends it. */
  #drain(producer: Producer): void {
    this.#draining.add(producer);
    const done = () => this.#draining.has(producer) && this.#retire(producer);
    void producer.barrier(this.#level).then(done, done);
  }

  /** Ends a producer; its counters stay. */
  #retire(producer: Producer, error?: HeadwaterError): Float64Array {
    this.#draining.delete(producer);
    if (producer === this.#producer) this.#producer = undefined;
    const counts = producer.counters();
    counts.forEach((count, i) => (this.#past[i] += count));
    producer.close(error);
    return counts;
  }

  /** The module of a producer (of one that was never finished, if it is undefined) trapped. */
  #trapped(producer: Producer | undefined, cause: unknown): void {
    const isCurrent = producer === this.#producer;
    // One that had ended has nothing to lose.
    if (producer && !isCurrent && !this.#draining.has(producer)) return;
    const error = new HeadwaterError('wasm_trapped', String(cause), { cause });
    const counts = producer && this.#retire(producer, error);
    if (!this.#producer) this.#module = 'trapped';
    this.#report(error);
    // Later: the caller is about to book an event that went with the module.
    queueMicrotask(() => {
      if (this.#state !== 'started') return;
      if (counts) this.#forfeit(error.code, counts);
      if (producer && !isCurrent) return;
      const now = performance.now();
      this.#traps = this.#traps.filter((at) => now - at < TRAPS_MS);
      if (this.#traps.push(now) > TRAPS_MAX) this.#giveUp(error);
      else void this.#open();
    });
  }

  /** From now on events are refused, and whatever is not delivered is given up. */
  #giveUp(error: HeadwaterError): void {
    this.#refusing ??= error.code;
    for (const producer of [...this.#draining, this.#producer]) if (producer) this.#retire(producer, error);
    this.#count(error.code, this.#pending.clear());
    this.#forfeit(error.code, this.#past);
    for (const resolve of this.#drained.splice(0)) resolve();
  }

  /** Counts what producers that ended held: as in doubt what may have left, else as dropped. */
  #forfeit(code: ErrorCode, counts: Float64Array): void {
    const doubtful = counts[TRANSMITTED];
    // Partials are with the newest module, since it has tables; the one before froze its own.
    const held = this.#producer?.engine.tables.size ? 0 : this.#taken - frozen(this.#counts());
    const lost = held + counts[1] - doubtful;
    this.#count(code, lost);
    this.#past[1] -= counts[1];
    this.#past[2] += doubtful;
    this.#past[TRANSMITTED] -= doubtful;
    this.#past[COUNTERS - 1] += lost;
  }

  /** Counters of all producers, ended ones included. */
  #counts(): Float64Array {
    const sum = this.#past.slice();
    for (const producer of [...this.#draining, this.#producer]) producer?.counters().forEach((n, i) => (sum[i] += n));
    return sum;
  }

  /** Whoever gave up waiting is not told what was lost: the next flush tells it. */
  async #settled(level: number, isAwaited: () => unknown): Promise<void> {
    if (this.#refusing) throw new HeadwaterError(this.#refusing, 'nothing can be sent');
    const told = this.#told;
    this.#doubt();
    if (!this.#isAnswered || !this.#producer) await new Promise<void>((resolve) => this.#drained.push(resolve));
    if (this.#refusing || !this.#producer) throw new HeadwaterError(this.#refusing ?? 'wasm_trapped', 'nothing can be sent');
    const unknown = this.#pending.streams();
    this.#tell();
    const old = [...this.#draining].map((producer) => producer.barrier(level));
    await Promise.all([...old, this.#producer.barrier(level)]);
    if (!isAwaited()) return;
    this.#told = this.#givenUp();
    const [dropped, inDoubt, oversized] = this.#told.map((count, i) => count - told[i]);
    if (dropped + inDoubt) {
      throw new HeadwaterError('lost', `events dropped: ${dropped}, in doubt: ${inDoubt}`, { dropped, inDoubt });
    }
    if (oversized) throw new HeadwaterError('oversized', `${oversized} groups are too large for a batch`);
    if (unknown.length) throw missing(unknown, 'everything else is safe, their events wait');
  }

  /** Events that `emit` took and no ack will cover: dropped, in doubt; and groups left out of views. */
  #givenUp(): number[] {
    const counts = this.#counts();
    return [this.#lost + droppedEvents(counts), counts[2], counts[7]];
  }

  /** Whoever flushes may have made the stream a moment ago: the hub is asked again. */
  #doubt(): void {
    const streams = this.#pending.streams().filter((stream) => this.#unknown.has(stream) && !this.#doubted.has(stream));
    const producer = this.#producer;
    if (!producer || !streams.length) return;
    for (const stream of streams) this.#doubted.add(stream);
    this.#ask(producer.engine, streams);
    producer.pump();
  }

  /** Flushes, gives up what no stream wants, and says why. */
  async #finish(timeoutMs: number): Promise<HeadwaterError | undefined> {
    const end = performance.now() + timeoutMs;
    try {
      await this.flush(undefined, { timeoutMs });
    } catch (error) {
      const streams = this.#pending.streams().filter((stream) => this.#unknown.has(stream));
      if (!['unknown_stream', 'lost'].includes((error as HeadwaterError).code) || !streams.length) return undefined;
      for (const stream of streams) {
        for (const { rows } of this.#pending.take(stream)) this.#count('unknown_stream', rows);
      }
      // The hub is to hear of it.
      await this.flush(undefined, { timeoutMs: end - performance.now() }).catch(() => {});
      return missing(streams, 'their events were given up');
    }
    return undefined;
  }

  /** Hands over to the module what was dropped: its next flush tells the hub. */
  #tell(): void {
    const engine = this.#producer?.engine;
    if (!engine) return;
    this.#untold.forEach((events, reason) => engine.invoke((x, at) => x.engine_count_dropped(at, reason, events)));
    this.#untold.clear();
  }

  #flush(): void {
    this.#tell();
    this.#producer?.flush();
  }

  /** Puts waiting events into their table. */
  #fill(stream: string, table: Table, waiting: Waiting): HeadwaterError | undefined {
    if (waiting.event) return this.#booked(stream, table.emit(waiting.event, waiting.happenedAt));
    let first: HeadwaterError | undefined;
    const refused = (fault: Fault) => {
      const error = this.#refuse(fault.code, stream, 1, fault);
      first ??= error;
    };
    this.#taken += table.emitColumns(waiting.columns!, waiting.rows, waiting.happenedAt, refused);
    this.#arm();
    return first;
  }

  /** Books one event that went, or did not go, into a table. */
  #booked(stream: string, fault: Fault | undefined): HeadwaterError | undefined {
    if (fault) return this.#refuse(fault.code, stream, 1, fault);
    this.#taken++;
    if (this.#timer === undefined) this.#arm();
    return undefined;
  }

  /** Keeps an event until its stream has a table. */
  #wait(stream: string, waiting: Waiting): HeadwaterError | undefined {
    if (this.#refusing) return this.#refuse(this.#refusing, stream, waiting.rows);
    if (typeof stream !== 'string' || !stream) return this.#refuse('unknown_stream', String(stream), waiting.rows);
    if (this.#unknown.has(stream) && this.#met.has(stream)) return this.#refuse('stream_gone', stream, waiting.rows);
    if (!this.#pending.add(stream, waiting)) return this.#refuse('waiting_full', stream, waiting.rows);
    this.#start();
    if (!this.#names.has(stream)) this.#subscribe(stream);
    return undefined;
  }

  /** Asks for a stream that was not known when the session opened. */
  #subscribe(stream: string): void {
    this.#names.add(stream);
    if (this.#wanted.push(stream) > 1) return;
    queueMicrotask(() => {
      const names = this.#wanted.splice(0);
      // A producer that is made later asks for all names.
      if (!this.#producer) return;
      this.#ask(this.#producer.engine, names);
      this.#producer.pump();
    });
  }

  /** Makes sure that a flush comes. */
  #arm(): void {
    if (this.#producer?.engine.texts.isFull) this.#producer.engine.pushAll();
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      // Without a connection partials go on merging: memory grows with groups, not with events (C1).
      if (this.#producer?.isHungry) this.#flush();
      else if (this.#producer) this.#arm();
    }, this.#options.flushIntervalMs ?? 500);
  }

  #refuse(
    code: ErrorCode, stream: string, events: number, { column, type }: Partial<Fault> = {}, cause?: unknown,
  ): HeadwaterError | undefined {
    this.#count(code, events);
    const where = (column === undefined ? stream : `${stream}.${column}`) + (type ? ` (${type})` : '');
    const error = new HeadwaterError(code, `event for ${where} was not taken`, { stream, column, cause });
    this.#report(error);
    if (!this.#refusing) {
      // The hub's books have what is refused, also when nothing else is emitted.
      this.#start();
      this.#arm();
    }
    return error;
  }

  /** Counts events that `emit` took: the next flush tells of them. */
  #lose(code: ErrorCode, events: number): void {
    this.#lost += events;
    this.#count(code, events);
  }

  #count(code: ErrorCode, events: number): void {
    if (!events) return;
    this.#dropped[code] = (this.#dropped[code] ?? 0) + events;
    const reason = REASONS[code] ?? REASONS.invalid;
    this.#untold.set(reason, (this.#untold.get(reason) ?? 0) + events);
  }

  #report(error: HeadwaterError): void {
    this.#last = error;
    try {
      this.#options.onError?.(error);
    } catch {
      // The page's own callback failed: not ours to show.
    }
  }
}

const closed = () => new HeadwaterError('closed', 'the client was closed');

/** The number that frames use for a level. */
function levelOf(level: AckLevel = 'durable'): number {
  const number = LEVELS.indexOf(level);
  if (number < 0) throw new HeadwaterError('invalid_argument', `a level is one of ${LEVELS}`);
  return number;
}

/** An object of columns: no array, no Date, no promise that nobody waited for. */
function isRow(event: unknown): boolean {
  if (typeof event !== 'object' || event === null) return false;
  const prototype: unknown = Object.getPrototypeOf(event);
  if (prototype === Object.prototype || prototype === null) return true;
  return !(Symbol.iterator in event) && Object.keys(event).length > 0;
}

/** The length of something without one. */
const NONE = -1;

function lengthOf(values: unknown): number {
  const length = typeof values === 'object' ? (values as ColumnValues | null)?.length : NONE;
  return Number.isInteger(length) ? length! : NONE;
}

function missing(streams: string[], then: string): HeadwaterError {
  const message = `no such stream: ${streams.join(', ')}; check the name, or CREATE STREAM at the hub: ${then}`;
  return new HeadwaterError('unknown_stream', message, { stream: streams[0] });
}

function copy(values: ColumnValues): ColumnValues {
  return ArrayBuffer.isView(values) ? (values as unknown as Float64Array).slice() : Array.from(values, unchanging);
}

/** A value as it is now: what it is in may be used again. (A Buffer's `slice` is no copy.) */
function unchanging<T>(value: T): T {
  if (value instanceof Uint8Array) return new Uint8Array(value) as T;
  return value instanceof Date ? (new Date(value) as T) : value;
}
