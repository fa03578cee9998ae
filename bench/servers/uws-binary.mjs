import { createRequire } from 'node:module';

/**
 * uWebSockets.js is not on the npm registry under its own name. `BENCH_UWS` names a binary of it for this Node and
 * machine (115: Node 20). Without one, the rows are measured without it. To get one, outside of this repository:
 *
 *     npm install --ignore-scripts @trufflesuite/uws-js-unofficial@20.30.0-unofficial.0
 *     export BENCH_UWS=$PWD/node_modules/@trufflesuite/uws-js-unofficial/dist/uws_linux_x64_115.node
 */
export function loadUws() {
  const file = process.env.BENCH_UWS;
  if (!file) return undefined;
  try {
    return createRequire(import.meta.url)(file);
  } catch {
    return undefined;
  }
}

/** The key of its server, if a binary is present that loads. */
export async function uwsHere() {
  if (loadUws() !== undefined) return ['uws'];
  console.log('uWebSockets.js is left out: BENCH_UWS names no binary that loads here (bench/README.md says how).\n');
  return [];
}
