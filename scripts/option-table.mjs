// Writes the files generated from the option table (lib/config/table*.ts): the option interfaces, .env.example, the JSON
// schema and the table of options: node scripts/option-table.mjs
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import '../test/support/typescript.mjs';

const { OPTION_FILES } = await import('../test/support/option-files.ts');
for (const [name, written] of Object.entries(OPTION_FILES)) {
  const file = new URL(`../${name}`, import.meta.url);
  writeFileSync(file, written(existsSync(file) ? readFileSync(file, 'utf8') : ''));
}
