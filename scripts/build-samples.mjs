// Compiles the library and every sample, or the named ones, when their sources are newer.
import { build } from './build.mjs';

const names = process.argv.slice(2);
await build(names.length > 0 ? names : undefined).catch((error) => {
  console.error(error.message);
  process.exit(1);
});
