/**
 * SQL over HTTP: text out, typed rows back.
 *
 * Owns: the JSON form of answers and what each SQL type becomes in JavaScript. Must not know: views.
 */
import { HeadwaterError } from './errors.ts';
import { type FetchTransport, notAHub, unreachable } from './transport.ts';
import type { ColumnInfo, Rows } from './types.ts';

interface Answer {
  columns?: ColumnInfo[];
  rows?: unknown[][];
}

/** Options of `Headwater.query`. */
export interface QueryOptions {
  /** Gives up when aborted: the query rejects with `aborted`. */
  signal?: AbortSignal;
  /** Gives up after this many milliseconds: the query rejects with `timeout`. Default 30,000; the hub has limits of its own. */
  timeoutMs?: number;
}

/** Sends `sql`; rejects with the hub's {@link HeadwaterError}, which has `position` and `hint` where known. */
export async function query<T>(transport: FetchTransport, sql: string, options: QueryOptions): Promise<Rows<T>> {
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

async function answer<T>(transport: FetchTransport, sql: string, signal: AbortSignal): Promise<Rows<T>> {
  signal.throwIfAborted();
  const response = await transport.post(
    '/v1/sql', JSON.stringify({ sql }), 'application/json', 'application/json', signal,
  );
  const url = response.url || '/v1/sql';
  const answer = parse(await response.text().catch(unreachable(url)));
  // Answers stream: one that fails half way has status 200 and an error beside its rows.
  if (!response.ok || !answer || answer.error) throw failure(response.status, url, answer);
  const { columns = [], rows = [] } = answer as Answer;
  const out = rows.map((row) => {
    const object: Record<string, unknown> = {};
    columns.forEach((column, i) => (object[column.name] = fromJson(row[i], column.type)));
    return object as T;
  });
  return Object.assign(out, { columns });
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
  return new HeadwaterError(body.code, body.message, { position: body.position, hint: body.hint });
}

function fromJson(value: unknown, type: string): unknown {
  if (value === null || value === undefined) return null;
  if (type === 'bigint' && typeof value === 'string') {
    const big = BigInt(value);
    return Number.isSafeInteger(Number(big)) ? Number(big) : big;
  }
  if (type.startsWith('timestamp') && typeof value === 'string') return new Date(value);
  if (type.startsWith('double') || type === 'real') return Number(value);
  return value;
}
