/**
 * The package without modules: `connect({ wasm: { core } })` brings them, from wherever they are.
 */
import { Client, type ConnectOptions } from './headwater.ts';

export * from './api.ts';

/** A connection to a hub. */
export class Headwater extends Client {
  /**
   * Makes a client. `options.wasm.core` is needed; without `options.wasm.full`, views that need it are an error.
   *
   * @throws HeadwaterError `invalid_argument` when the options have no `url` that is a string, or no such `ackLevel`.
   */
  static connect(options: ConnectOptions): Headwater {
    return new Headwater(options, {});
  }
}
