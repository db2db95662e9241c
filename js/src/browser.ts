/**
 * The package in browsers and workers: modules lie beside this file, where bundlers find them.
 */
import { Client, type ConnectOptions } from './headwater.ts';

export * from './api.ts';

/** A connection to a hub. */
export class Headwater extends Client {
  /**
   * Makes a client. Returns at once; connects when the first event is emitted. Safe during server rendering.
   *
   * @throws HeadwaterError `invalid_argument` when the options have no `url` that is a string, or no such `ackLevel`.
   */
  static connect(options: ConnectOptions): Headwater {
    return new Headwater(options, {
      core: () => new URL('./headwater_core.wasm', import.meta.url),
      full: () => new URL('./headwater_full.wasm', import.meta.url),
    });
  }
}
