/**
 * SQL over HTTP: text out, typed rows back.
 *
 * Owns: the JSON form of answers and what each SQL type becomes in JavaScript. Must not know: views.
 */
import { HeadwaterError } from './errors.ts';
import { type Http, notAHub, unreachable } from './transport.ts';
import type { ColumnInfo, Rows } from './types.ts';

interface Answer {
  columns?: ColumnInfo[];
  rows?: unknown[][];
}

/** Options of `Client.query`. */
export interface QueryOptions {
  /** Gives up when aborted: the query rejects with `aborted`, and the signal's reason is the error's `cause`. */
  signal?: AbortSignal;
  /** Gives up after this many milliseconds: the query rejects with `timeout`. Default 30,000; the hub has limits of its own. */
  timeoutMs?: number;
}

/** Sends `sql`; rejects with the hub's {@link HeadwaterError}, which has `position` and `hint` where known. */
export async function query<T>(transport: Http, sql: string, options: QueryOptions): Promise<Rows<T>> {
  const { signal, timeoutMs = 30_000 } = options;
  const abort = new AbortController();
  const cancel = () => abort.abort(new HeadwaterError('aborted', 'the query was given up', { cause: signal!.reason }));
  const late = () => abort.abort(new HeadwaterError('timeout', `no answer to the query within ${timeoutMs} ms`));
  const timer = setTimeout(late, Math.min(timeoutMs, 2 ** 31 - 1));
  signal?.addEventListener('abort', cancel);
  if (signal?.aborted) cancel();
  try {
    return await answer<T>(transport, sql, abort.signal);
  } catch (error) {
    throw abort.signal.aborted ? abort.signal.reason : error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', cancel);
  }
}

async function answer<T>(transport: Http, sql: string, signal: AbortSignal): Promise<Rows<T>> {
  signal.throwIfAborted();
  const response = await transport.post(
    '/v1/sql', JSON.stringify({ sql }), 'application/json', 'application/json', signal,
  );
  const url = response.url || '/v1/sql';
  const answer = parse(await response.text().catch(unreachable(url)));
  // Answers stream: one that fails half way has status 200 and an error beside its rows.
  if (!response.ok || !answer || answer.error) throw failure(response.status, url, answer);
  const { columns = [], rows = [] } = answer as Answer;
  const readers = columns.map(({ type }) => reader(type));
  const out = rows.map((row) => Object.fromEntries(columns.map(({ name }, i) => [name, readers[i](row[i])])) as T);
  // Beside the rows, not among what a comparison or a spread of them sees.
  return Object.defineProperty(out, 'columns', { value: columns }) as Rows<T>;
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function failure(status: number, url: string, answer?: Record<string, unknown>): HeadwaterError {
  const body = (answer?.error ?? answer ?? {}) as Record<string, never>;
  if (!body.code) return notAHub(url, status);
  return new HeadwaterError(body.code, body.message, {
    position: body.position ?? undefined, hint: body.hint ?? undefined,
  });
}

type Read = (value: any) => unknown;

/** What a value of an SQL type becomes, by the name that the hub gives the type (`hub/sql/src/types.rs`). */
function reader(type: string): Read {
  const read = type.endsWith('[]') ? list(type.slice(0, -2)) : type.startsWith('record(') ? record(type) : READ[type];
  return (value) => (value === null || value === undefined ? null : read ? read(value) : value);
}

const READ: Record<string, Read | undefined> = {
  // The hub writes as text what a number cannot be: wide integers, NaN and infinities.
  bigint: (value) => (Number.isSafeInteger(Number(value)) ? Number(value) : BigInt(value)),
  'double precision': Number,
  real: Number,
  bytea: (hex: string) => Uint8Array.from(hex.slice(2).match(/../g) ?? [], (byte) => parseInt(byte, 16)),
  timestamptz(text: string) {
    const date = new Date(text);
    return Number.isNaN(date.getTime()) ? text : date;
  },
};

function list(type: string): Read {
  const read = reader(type);
  return (items: unknown[]) => items.map(read);
}

/** `record(value text, count bigint)`: an object by field. */
function record(type: string): Read {
  const fields = new Map<string, Read>();
  let from = 7;
  for (let at = from, depth = 0; at < type.length; at++) {
    if (type[at] === '(') depth++;
    if (depth === 0 && (type[at] === ',' || type[at] === ')')) {
      const [, name, of] = /^ ?(\S+) (.*)/.exec(type.slice(from, at)) ?? [];
      if (name) fields.set(name, reader(of));
      from = at + 1;
    } else if (type[at] === ')') depth--;
  }
  return (value: object) =>
    Object.fromEntries(Object.entries(value).map(([name, field]) => [name, fields.get(name)?.(field) ?? field]));
}
