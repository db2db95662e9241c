/**
 * SQL over HTTP: text out, typed rows back.
 *
 * Owns: the JSON form of answers and what each SQL type becomes in JavaScript. Must not know: views.
 */
import { HeadwaterError } from './errors.ts';
import type { FetchTransport } from './transport.ts';
import type { ColumnInfo, Rows } from './types.ts';

interface Answer {
  columns?: ColumnInfo[];
  rows?: unknown[][];
}

/** Sends `sql`; rejects with the hub's {@link HeadwaterError}, which has `position` and `hint` where known. */
export async function query<T>(transport: FetchTransport, sql: string, signal?: AbortSignal): Promise<Rows<T>> {
  const response = await transport.post(
    '/v1/sql', JSON.stringify({ sql }), 'application/json', 'application/json', signal,
  );
  const text = await response.text();
  const answer = parse(text);
  // Answers stream: one that fails half way has status 200 and an error beside its rows.
  if (!response.ok || !answer || answer.error) throw failure(response.status, answer);
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

function failure(status: number, answer?: Record<string, unknown>): HeadwaterError {
  const body = (answer?.error ?? answer ?? {}) as Record<string, never>;
  if (!body.code) return new HeadwaterError('unreachable', `the hub answered ${status}`);
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
