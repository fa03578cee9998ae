// @ts-nocheck
import { readFileSync } from 'node:fs';

const manifest: unknown = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));

/** The version of this library. */
export const VERSION: string = (manifest as { version: string }).version;

/** What the `Server` and `User-Agent` headers say by default: `Node.js/x.y.z nest-secure-ws/X.Y`. */
export const IDENTITY = `Node.js/${process.versions.node} nest-secure-ws/${VERSION.split('.').slice(0, 2).join('.')}`;
