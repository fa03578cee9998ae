// Writes the dashboard's page, with uPlot, into a module: no file is read at run time, so bundles carry it.
//   node scripts/dashboard-assets.mjs
import { readFileSync, writeFileSync } from 'node:fs';

const PAGE = 'lib/dashboard/page/';
const UPLOT = 'node_modules/uplot/dist/';
const read = (path) => readFileSync(path, 'utf8');

/** The module's text: `ASSETS` by the last segment of the path. */
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
