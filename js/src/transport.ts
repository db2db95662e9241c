/**
 * Requests over `fetch`.
 *
 * Owns: URLs, headers, keepalive. Must not know: frames (`frames.ts`), SQL, retries.
 */
import { HeadwaterError } from './errors.ts';

/** Browsers let 64 KiB of keepalive bodies be in flight, of all requests of a page together, and refuse the next. */
const KEEPALIVE_BYTES_MAX = 60 * 1024;
/** Bytes of them now. */
let keptAlive = 0;

/** Carries frames. Replaceable by `connect({ transport })`. */
export interface Transport {
  /**
   * Posts one frame; gives the frames of the answer, back to back, or `null` when there is nothing new, which a watch
   * (`path` is `/v1/watch`) may take 25 s to say.
   * Rejects with a {@link HeadwaterError} of code `unreachable`; `retryAfterMs` may be set on it, and is obeyed up to
   * a minute.
   */
  send(frame: Uint8Array, options?: SendOptions): Promise<Uint8Array | null>;
}

/** How to send. */
export interface SendOptions {
  /** Another route than the frame's kind has. */
  path?: string;
  /** Gives up when aborted: what asked has ended, or waited for a minute. */
  signal?: AbortSignal;
}

/** A failed request; `retryAfterMs` when the hub said when to come back. */
export type TransportError = HeadwaterError & { retryAfterMs?: number };

/** What queries and frames go through. */
export class Http {
  /** The hub, without a slash at the end. */
  readonly base: string;
  readonly #headers: Record<string, string>;
  readonly #fetch: typeof globalThis.fetch;

  constructor(url: string, token: string | undefined, fetch: typeof globalThis.fetch) {
    this.base = url.replace(/\/+$/, '');
    this.#headers = token ? { authorization: `Bearer ${token}` } : {};
    this.#fetch = fetch;
  }

  /** Any POST to the hub. */
  post(path: string, body: BodyInit, type: string, accept: string, signal?: AbortSignal): Promise<Response> {
    // A statement may have three bytes per unit.
    const size = typeof body === 'string' ? body.length * 3 : (body as Uint8Array).byteLength;
    const keepalive = keptAlive + size < KEEPALIVE_BYTES_MAX && !path.startsWith('/v1/watch');
    if (keepalive) keptAlive += size;
    return this.#fetch
      .call(globalThis, this.base + path, {
        method: 'POST',
        body,
        signal,
        keepalive,
        credentials: 'omit',
        headers: { ...this.#headers, 'content-type': type, accept },
      })
      .catch(unreachable(this.base + path))
      .finally(() => {
        if (keepalive) keptAlive -= size;
      });
  }
}

/** Something else than a hub answered. */
export function notAHub(url: string, status: number): HeadwaterError {
  return new HeadwaterError('unreachable', `${url} answered ${status}: is this the HTTP port of a hub?`);
}

/** Says what to check when a request fails; the runtime says only that it did. */
export function unreachable(url: string): (cause: unknown) => never {
  return (cause) => {
    const { message, cause: why } = cause as { message?: string; cause?: { code?: string } };
    const reason = [message ?? String(cause), why?.code].filter(Boolean).join(', ');
    const check = 'is the hub running, are scheme, host, port and certificate right?';
    throw new HeadwaterError('unreachable', `no answer from ${url} (${reason}): ${check}`, { cause });
  };
}
