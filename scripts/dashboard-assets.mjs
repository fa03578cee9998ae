// Writes the dashboard's page, with uPlot, into a module, so that bundles contain it: no file is read at run time.
//   node scripts/dashboard-assets.mjs
import { readFileSync, writeFileSync } from 'node:fs';

const PAGE = 'lib/dashboard/page/';
const UPLOT = 'node_modules/uplot/dist/';
const read = (path) => readFileSync(path, 'utf8');

/** The text of the module: `ASSETS` by the last path segment. */
export function assetsModule() {
  const assets = {
    '': { type: 'text/html; charset=utf-8', body: read(`${PAGE}index.html`) },
    'app.js': {
      type: 'text/javascript; charset=utf-8',
      body: `${read(`${UPLOT}uPlot.iife.min.js`).trim()}\n${read(`${PAGE}app.js`)}`,
    },
    'style.css': {
      type: 'text/css; charset=utf-8',
      body: `${read(`${UPLOT}uPlot.min.css`).trim()}\n${read(`${PAGE}style.css`)}`,
    },
  };
  const lines = Object.entries(assets).map(
    ([name, { type, body }]) =>
      `  ${JSON.stringify(name)}: { type: ${JSON.stringify(type)}, body: ${JSON.stringify(body)} },`,
  );
  return [
    '// Written by scripts/dashboard-assets.mjs from lib/dashboard/page and uPlot (MIT). Do not edit.',
    'export const ASSETS: Readonly<Record<string, { readonly type: string; readonly body: string } | undefined>> = {',
    ...lines,
    '};',
    '',
  ].join('\n');
}

if (process.argv[1] === import.meta.filename) writeFileSync('lib/dashboard/assets.generated.ts', assetsModule());
