/**
 * One frame, one answer, over HTTP: the transport of every client that was not given another.
 *
 * Owns: routes, how long an answer may be, `Retry-After`. Must not know: what frames mean beyond their kind, retries.
 */
import { type Http, type SendOptions, type Transport, type TransportError, notAHub, unreachable } from './transport.ts';

/** Where a frame of each kind is posted; the kind is a frame's second byte (`sdk/src/wire`). */
const ROUTES: Record<number, string> = { 1: 'session', 4: 'resume', 6: 'batch', 9: 'clock' };
/** The longest answer that is read, bytes: a frame of the most that the module takes (`FrameLimits::NATIVE`), and small ones beside it. */
const ANSWER_BYTES_MAX = (4 << 20) + (64 << 10);

/** The default {@link Transport}. */
export class HttpFrames implements Transport {
  readonly #http: Http;

  constructor(http: Http) {
    this.#http = http;
  }

  /** See {@link Transport.send}. */
  async send(frame: Uint8Array, { path = `/v1/${ROUTES[frame[1]]}`, signal }: SendOptions = {}): Promise<Uint8Array | null> {
    const url = this.#http.base + path;
    const response = await this.#http.post(path, frame as BodyInit, 'application/octet-stream', '*/*', signal);
    if (response.status === 204) return null;
    const body = await read(response).catch(unreachable(url));
    if (body[0] === 0x48) return body;
    const error: TransportError = notAHub(url, response.status);
    error.retryAfterMs = Number(response.headers.get('retry-after')) * 1000;
    throw error;
  }
}

/** A whole body, unless it is longer than any answer: then the rest stays where it is. */
async function read({ body }: Response): Promise<Uint8Array> {
  const chunks: BlobPart[] = [];
  const reader = body?.getReader();
  for (let size = 0, next; (next = (await reader?.read())?.value); chunks.push(next)) {
    if ((size += next.length) < ANSWER_BYTES_MAX) continue;
    void reader!.cancel();
    throw new Error('its answer does not end');
  }
  return new Uint8Array(await new Blob(chunks).arrayBuffer());
}
