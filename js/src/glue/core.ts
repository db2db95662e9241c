/** Only the loader of the generated glue: `Engine` calls the module's exports directly (smaller, and one copy). */
export { default } from '../generated/headwater_core.js';
