/**
 * One request, one answer, over `fetch`.
 *
 * Owns: URLs, headers, keepalive, time limits. Must not know: what frames mean beyond their kind, retries.
 */
import { HeadwaterError } from './errors.ts';

/** Browsers let 64 KiB of keepalive bodies be in flight, of all requests of a page together, and refuse the next. */
const KEEPALIVE_BYTES_MAX = 60 * 1024;
/** Bytes of them now. */
let keptAlive = 0;

/** Where a frame of each kind is posted; the kind is a frame's second byte (`sdk/src/wire`). */
const ROUTES: Record<number, string> = { 1: 'session', 4: 'resume', 6: 'batch', 9: 'clock' };

/** Carries frames. Replaceable by `connect({ transport })`. */
export interface Transport {
  /**
   * Posts one frame; gives the frames of the answer, back to back, or `null` when there is nothing new, which a watch
   * (`path` is `/v1/watch`) may take 25 s to say.
   * Rejects with a {@link HeadwaterError} of code `unreachable`; `retryAfterMs` may be set on it.
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

/** The default {@link Transport}. */
export class FetchTransport implements Transport {
  readonly #base: string;
  readonly #headers: Record<string, string>;
  readonly #fetch: typeof globalThis.fetch;

  constructor(url: string, token: string | undefined, fetch: typeof globalThis.fetch) {
    this.#base = url.replace(/\/+$/, '');
    this.#headers = token ? { authorization: `Bearer ${token}` } : {};
    this.#fetch = fetch;
  }

  /** See {@link Transport.send}. */
  async send(frame: Uint8Array, options: SendOptions = {}): Promise<Uint8Array | null> {
    const path = options.path ?? `/v1/${ROUTES[frame[1]]}`;
    const url = this.#base + path;
    const response = await this.post(path, frame as BodyInit, 'application/octet-stream', '*/*', options.signal);
    if (response.status === 204) return null;
    const body = await response.arrayBuffer().then((b) => new Uint8Array(b), unreachable(url));
    if (body[0] === 0x48) return body;
    const error: TransportError = notAHub(url, response.status);
    const after = Number(response.headers.get('retry-after'));
    if (after > 0) error.retryAfterMs = after * 1000;
    throw error;
  }

  /** Any POST to the hub. */
  post(path: string, body: BodyInit, type: string, accept: string, signal?: AbortSignal): Promise<Response> {
    // A statement may have three bytes per unit.
    const size = typeof body === 'string' ? body.length * 3 : (body as Uint8Array).byteLength;
    const keepalive = keptAlive + size < KEEPALIVE_BYTES_MAX && !path.startsWith('/v1/watch');
    if (keepalive) keptAlive += size;
    return this.#fetch
      .call(globalThis, this.#base + path, {
        method: 'POST',
        body,
        signal,
        keepalive,
        credentials: 'omit',
        headers: { ...this.#headers, 'content-type': type, accept },
      })
      .catch(unreachable(this.#base + path))
      .finally(() => {
        if (keepalive) keptAlive -= size;
      });
  }
}

/** Something else than a hub answered. */
export function notAHub(url: string, status: number): HeadwaterError {
  return new HeadwaterError('unreachable', `${url} answered ${status}: is this the HTTP port of a Headwater hub?`);
}

/** Says what to check when a request fails; the runtime says only that it did. */
export function unreachable(url: string): (cause: unknown) => never {
  return (cause) => {
    const { message, cause: why } = cause as { message?: string; cause?: { code?: string } };
    const reason = [message ?? String(cause), why?.code].filter(Boolean).join(', ');
    const check = 'is the hub running, are host, port and http or https right, is its certificate trusted?';
    throw new HeadwaterError('unreachable', `no answer from ${url} (${reason}): ${check}`, { cause });
  };
}
