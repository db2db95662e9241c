/**
 * The package in Node, Deno and Bun: modules are read from files beside this one.
 */
import { Client, type ConnectOptions } from './headwater.ts';

export * from './api.ts';

const file = (name: string) => async () => (await import('node:fs/promises')).readFile(new URL(name, import.meta.url));

/** A connection to a hub. */
export class Headwater extends Client {
  /**
   * Makes a client. Returns at once; connects when the first event is emitted.
   *
   * An open client keeps the process alive, as an open connection does: a program that never calls `close` does not exit.
   *
   * @throws HeadwaterError `invalid_argument` when the options have no `url` that is a string, or no such `ackLevel`.
   */
  static connect(options: ConnectOptions): Headwater {
    // Nothing is downloaded here, and the full module is the fast one.
    return new Headwater(options, { full: file('./headwater_full.wasm') });
  }
}
