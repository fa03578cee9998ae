import { readFileSync } from 'node:fs';
import { type NamedRow, ROWS } from '../../lib/config/rows.js';

/** The files written from the option table: the option interfaces, the reference, `.env.example` and the JSON schema. */

const SCOPES = { a: 'application', p: 'port', g: 'gateway', ag: 'application and gateway' } as const;

/** Descriptions of the groups, for the interfaces and the headings of `.env.example`. */
const GROUPS: Readonly<Record<string, string>> = {
  http: 'Limits on HTTP request and response heads while they arrive.',
  listen: 'Where dedicated ports listen.',
  tls: 'TLS of dedicated ports.',
  proxy: 'Reverse proxies and load balancers in front of the application.',
  connections: 'Limits on connections, and who may connect.',
  bans: 'Temporary bans.',
  cluster: 'State that the processes of an application share.',
  messages: 'Limits on messages and handlers.',
  buffers: 'Limits on memory that is held for peers.',
  keepalive: 'Pings, timeouts and the lifetime of connections.',
  compression: 'permessage-deflate (RFC 7692).',
  shutdown: 'Shutdown.',
  probe: '`nest-secure-ws probe`.',
  dashboard: "The operators' page.",
  client: 'The outbound client.',
};

const code = (value: unknown): string => `\`${String(value)}\``;
const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

/** The default as documentation shows it. */
function defaultOf({ row }: NamedRow): string {
  if (row.defaultText !== undefined) return row.defaultText;
  return row.default === undefined ? '–' : String(row.default);
}

const extras = ({ row }: NamedRow): string =>
  `${row.removable ? ' Removable.' : ''}${row.variable === undefined ? ' Code only.' : ''}`;

// The reference.

const BEGIN = '<!-- options -->';
const END = '<!-- /options -->';
const SHORT = { a: 'a', p: 'p', g: 'g', ag: 'a, g' } as const;

function line(entry: NamedRow): string {
  const { path, row } = entry;
  const cells = [
    code(path),
    row.variable === undefined ? '–' : code(row.variable),
    SHORT[row.scope],
    defaultOf(entry),
    row.means + extras(entry),
  ];
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}

/** The table of all options in Markdown. */
export const optionTable = (): string =>
  ['| option | variable | scope | default | meaning |', '|---|---|---|---|---|', ...ROWS.map(line)].join('\n');

/** The text between the markers, or `undefined` without them. */
export function tableIn(text: string): string | undefined {
  const [begin, end] = [text.indexOf(BEGIN), text.indexOf(END)];
  return begin < 0 || end < begin ? undefined : text.slice(begin + BEGIN.length, end).trim();
}

/** The text with a new table. Throws without the markers. */
export function withTable(text: string): string {
  if (tableIn(text) === undefined) throw new Error(`the text needs a line ${BEGIN} and a line ${END}`);
  return `${text.slice(0, text.indexOf(BEGIN) + BEGIN.length)}\n${optionTable()}\n${text.slice(text.indexOf(END))}`;
}

// The option interfaces.

/** Wraps words to lines of at most 120 columns. */
function wrapped(text: string, indent: string): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && indent.length + 3 + last.length + 1 + word.length <= 120)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

function comment(indent: string, ...paragraphs: readonly string[]): string {
  const lines = paragraphs.flatMap((text, index) => [
    ...(index > 0 ? [''] : []),
    ...wrapped(text.replaceAll('*/', '*\\/'), indent),
  ]);
  const [only, ...more] = lines;
  if (more.length === 0 && indent.length + only!.length + 7 <= 120) return `${indent}/** ${only} */`;
  return [`${indent}/**`, ...lines.map((text) => `${indent} *${text === '' ? '' : ` ${text}`}`), `${indent} */`].join(
    '\n',
  );
}

function facts(entry: NamedRow): string {
  const { row } = entry;
  const said = defaultOf(entry);
  const quoted = row.defaultText === undefined && said !== '–' ? code(said) : said === '–' ? 'none' : said;
  return [
    `Default: ${quoted}.`,
    ...(row.unit === undefined ? [] : [`Unit of a plain number: ${row.unit}.`]),
    row.variable === undefined ? 'Code only.' : `Variable: ${code(row.variable)}.`,
    `Scope: ${SCOPES[row.scope]}.`,
    ...(row.removable ? ['`null` removes it.'] : []),
  ].join(' ');
}

function property(entry: NamedRow, indent = '  '): string {
  const { key, row } = entry;
  const type = row.removable ? `${row.type} | null` : row.type;
  const declared = `${indent}readonly ${key}?: ${type};`;
  return `${comment(indent, row.means, facts(entry))}\n${declared}`;
}

const nameOf = (group: string): string => `${capital(group)}Options`;

/** The groups of the table in order; a row without a group is a group of its own. */
function parts(rows: readonly NamedRow[]): (readonly NamedRow[])[] {
  const found: NamedRow[][] = [];
  for (const entry of rows) {
    const last = found.at(-1);
    if (last !== undefined && entry.group !== undefined && last[0]!.group === entry.group) last.push(entry);
    else found.push([entry]);
  }
  return found;
}

/** Members of an interface of all groups; for an incomplete group, only these properties. */
function members(rows: readonly NamedRow[], nullable: ReadonlySet<string> = new Set()): string[] {
  return parts(rows).map((part) => {
    const [first] = part as readonly [NamedRow];
    const { group } = first;
    if (group === undefined) return property(first);
    const whole = ROWS.filter((entry) => entry.group === group).length === part.length;
    const type = whole ? nameOf(group) : pick(nameOf(group), part);
    const isNull = nullable.has(group);
    const words = isNull
      ? `${GROUPS[group] ?? capital(group)} \`null\` disables TLS on this port even if the application's settings have certificates.`
      : (GROUPS[group] ?? capital(group));
    return `${comment('  ', words)}\n  readonly ${group}?: ${type}${isNull ? ' | null' : ''};`;
  });
}

/** As the formatter would write it after `readonly group?: `. */
function pick(name: string, part: readonly NamedRow[]): string {
  const { group } = part[0]!;
  const keys = part.map(({ key }) => `'${key}'`);
  const short = `Pick<${name}, ${keys.join(' | ')}>`;
  if (`  readonly ${group}?: ${short};`.length <= 120) return short;
  const union = keys.join(' | ');
  const keyLines = union.length + 4 <= 120 ? [`    ${union}`] : keys.map((key) => `    | ${key}`);
  return [`Pick<`, `    ${name},`, ...keyLines, '  >'].join('\n');
}

const ofPort = new Set(['listen', 'tls']);

/** `lib/config/options.ts`. */
export function optionTypes(): string {
  const groups = parts(ROWS).filter(([first]) => first!.group !== undefined);
  const forGateway = ROWS.filter(({ row }) => row.scope !== 'a');
  const shared = forGateway.filter(({ group }) => !ofPort.has(group ?? ''));
  const dedicated = forGateway.filter(({ group }) => ofPort.has(group ?? ''));
  const types = ['Duration', 'List', 'Rate', 'Size'].filter((type) =>
    ROWS.some(({ row }) => row.type.split(' ').includes(type)),
  );
  return `${[
    '// Written from the option table by `node scripts/option-table.mjs`: change lib/config/table*.ts, not this file.',
    `import type { ClusterBus, ClusterStore } from '../cluster/contract.js';\nimport type { ForeignUpgrades, GuardLike, MessageParser, RedisClientLike } from './code-types.js';\nimport type { ${types.join(', ')} } from './kinds.js';`,
    ...groups.map((part) => {
      const group = part[0]!.group!;
      return `${comment('', GROUPS[group] ?? capital(group))}\nexport interface ${nameOf(group)} {\n${part.map((entry) => property(entry)).join('\n')}\n}`;
    }),
    `${comment('', 'The options of `SecureWsModule.forRoot()`. All are optional; each takes precedence over its environment variable.')}\nexport interface SecureWsOptions {\n${members(ROWS).join('\n')}\n}`,
    `${comment('', "The options of `@SecureGateway()` for a gateway on the application's port: its path, and every setting that a gateway or a port can have.")}\nexport interface SecureGatewayOptions {\n${comment('  ', 'Path of the gateway, or a pattern such as `/rooms/:id` or `/files/*rest`. Default: `/`; on a dedicated port, every path that no other gateway on that port has.')}\n  readonly path?: string;\n${members(shared).join('\n')}\n}`,
    `${comment('', 'The options of `@SecureGateway(port)` for a gateway with a dedicated port.')}\nexport interface SecurePortOptions extends SecureGatewayOptions {\n${members(dedicated, new Set(['tls'])).join('\n')}\n}`,
  ].join('\n\n')}\n`;
}

// `.env.example`.

/** Markdown without its markup, for a comment in a file of variables. */
const plain = (text: string): string => text.replaceAll('`', '');

/** Every variable with its default, commented out. */
export function envExample(): string {
  const sections = parts(ROWS.filter(({ row }) => row.variable !== undefined)).map((part) => {
    const { group } = part[0]!;
    const lines = part.map((entry) => {
      const { path, row } = entry;
      const value = row.default === undefined || row.defaultText !== undefined ? '' : String(row.default);
      const said = plain(defaultOf(entry));
      const words = `${path}: ${plain(row.means)} Default: ${said === '–' ? 'none' : said}.${row.removable ? " 'none' removes it." : ''}`;
      return `${wrapped(words, '')
        .map((text) => `# ${text}`)
        .join('\n')}\n#${row.variable}=${value}`;
    });
    return [...(group === undefined ? [] : [`## ${plain(GROUPS[group] ?? capital(group))}`]), ...lines].join('\n\n');
  });
  return `${[
    '# Every setting of nest-secure-ws with its default. Copy the lines that you want to change to .env.\n# Durations: milliseconds or 10s. Sizes: bytes or 64kb. Rates: 20/1s. Lists: comma-separated.',
    ...sections,
  ].join('\n\n')}\n`;
}

// The JSON schema.

const schemaOf = (entry: NamedRow): object => {
  const { row } = entry;
  const description = `${plain(row.means)} Default: ${plain(defaultOf(entry))}.`;
  const schema = row.removable ? { anyOf: [row.schema, { type: 'null' }] } : row.schema;
  const plainDefault = row.default !== undefined && row.defaultText === undefined ? { default: row.default } : {};
  return { description, ...schema, ...plainDefault };
};

/** JSON schema of the options of `forRoot()` that can be stored as JSON. */
export function optionSchema(): string {
  const properties: Record<string, object> = {};
  for (const part of parts(ROWS)) {
    const known = part.filter(({ row }) => row.schema !== undefined);
    const [first] = known;
    if (first === undefined) continue;
    if (first.group === undefined) properties[first.key] = schemaOf(first);
    else
      properties[first.group] = {
        type: 'object',
        description: GROUPS[first.group],
        properties: Object.fromEntries(known.map((entry) => [entry.key, schemaOf(entry)])),
        additionalProperties: false,
      };
  }
  const schema = {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'Options of nest-secure-ws',
    type: 'object',
    properties: { $schema: { type: 'string' }, ...properties },
    additionalProperties: false,
  };
  return `${JSON.stringify(schema, undefined, 2)}\n`;
}

/** A constant instead of a file read at run time, which a bundle would not have. */
function withVersion(text: string): string {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
  return text.replace(/(?<=^export const VERSION: string = ').*(?=';$)/m, version);
}

/** Every generated file, with a function from its old text to its new one. */
export const OPTION_FILES: Readonly<Record<string, (old: string) => string>> = {
  'lib/config/options.ts': optionTypes,
  '.env.example': envExample,
  'options.schema.json': optionSchema,
  'docs/options.md': withTable,
  'lib/version.ts': withVersion,
};
