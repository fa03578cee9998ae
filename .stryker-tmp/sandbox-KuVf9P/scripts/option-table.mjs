// @ts-nocheck
// Writes the README's table of options from lib/config: node scripts/option-table.mjs
import { readFileSync, writeFileSync } from 'node:fs';
import '../test/support/typescript.mjs';

const { withTable } = await import('../test/support/option-table.ts');
const readme = new URL('../README.md', import.meta.url);
writeFileSync(readme, withTable(readFileSync(readme, 'utf8')));
