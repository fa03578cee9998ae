import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from '@jest/globals';

/**
 * Which module (a folder of `lib/`; `.` is its top) may import from which others, types included. An edge that is new
 * here is a decision.
 */
const MODULES: Readonly<Record<string, readonly string[]>> = {
  admission: ['config', 'http', 'net', 'protocol', 'telemetry'],
  cli: ['.', 'config', 'http', 'nest', 'net', 'protocol'],
  client: ['config', 'connection', 'http', 'net', 'protocol', 'telemetry'],
  cluster: ['admission', 'dispatch', 'guards', 'http', 'net', 'protocol'],
  compat: ['http'],
  config: ['.', 'admission', 'cluster', 'compat', 'net'],
  connection: ['admission', 'compat', 'config', 'net', 'protocol', 'telemetry'],
  dashboard: ['admission', 'config', 'connection', 'dispatch', 'http', 'nest', 'net', 'telemetry'],
  dispatch: ['admission', 'config', 'connection', 'net', 'protocol', 'telemetry'],
  guards: ['admission', 'config', 'http', 'net', 'telemetry'],
  handshake: ['admission', 'cluster', 'connection', 'http', 'net', 'protocol', 'telemetry'],
  http: ['net'],
  nest: [
    'admission',
    'client',
    'cluster',
    'compat',
    'config',
    'connection',
    'dispatch',
    'guards',
    'handshake',
    'net',
    'server',
    'telemetry',
  ],
  net: ['compat', 'config', 'http', 'telemetry'],
  protocol: ['compat', 'http'],
  server: [
    'admission',
    'cluster',
    'compat',
    'config',
    'connection',
    'dispatch',
    'handshake',
    'http',
    'net',
    'protocol',
    'telemetry',
  ],
  telemetry: ['.', 'cluster', 'config', 'http'],
  testing: ['admission', 'client', 'cluster', 'http', 'net'],
};

const LIB = 'lib';
const files = readdirSync(LIB, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
const source = (file: string): string => readFileSync(join(LIB, file), 'utf8');
const moduleOf = (file: string): string => (file.includes('/') ? file.slice(0, file.indexOf('/')) : '.');

interface Import {
  readonly file: string;
  /** The imported file, relative to `lib/`. */
  readonly target: string;
  readonly isType: boolean;
}

const IMPORT = /^(?:import|export)( type)?\s+([^;'"]*?)\s+from\s+'(\.[^']+)'/gm;

const imports: readonly Import[] = files.flatMap((file) =>
  [...source(file).matchAll(IMPORT)].map(([, type, names = '', specifier = '']) => ({
    file,
    target: join(dirname(file), specifier).replace(/\.js$/, '.ts'),
    isType:
      type !== undefined ||
      names
        .replace(/[{}]/g, '')
        .split(',')
        .every((name) => name.trim() === '' || name.trim().startsWith('type ')),
  })),
);

/** Every circle of files that import from each other, values or types. */
function circles(): string[] {
  const next = new Map<string, Import[]>();
  for (const each of imports) next.set(each.file, [...(next.get(each.file) ?? []), each]);
  const done = new Set<string>();
  const found: string[] = [];
  const visit = (file: string, path: readonly string[]): void => {
    const at = path.indexOf(file);
    if (at >= 0) found.push([...path.slice(at), file].join(' → '));
    if (at >= 0 || done.has(file)) return;
    for (const { target } of next.get(file) ?? []) visit(target, [...path, file]);
    done.add(file);
  };
  for (const file of files) visit(file, []);
  return found;
}

describe('the modules of lib/', () => {
  it('import what the table allows, and the table allows nothing else', () => {
    const used = new Map(Object.keys(MODULES).map((name) => [name, new Set<string>()]));
    for (const { file, target } of imports) {
      const from = moduleOf(file);
      const to = moduleOf(target);
      if (from === '.' || from === to) continue;
      if (!used.has(from)) used.set(from, new Set());
      used.get(from)!.add(to);
    }
    expect(Object.fromEntries([...used].map(([name, targets]) => [name, [...targets].sort()]))).toEqual(MODULES);
  });

  it('form no circle of files', () => {
    expect(circles()).toEqual([]);
  });
});

describe('the files of lib/', () => {
  it('use no `any`', () => {
    const types = /(?::|<|\||&|\bas|=>|,)\s*any\b(?!\s*:)/;
    const withoutComments = (file: string) => source(file).replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
    expect(files.filter((file) => types.test(withoutComments(file)))).toEqual([]);
  });

  it('read the environment in one place', () => {
    const allowed = ['config/environment.ts'];
    expect(files.filter((file) => /process\.env/.test(source(file)) && !allowed.includes(file))).toEqual([]);
  });

  it('install no process-wide handler', () => {
    expect(files.filter((file) => /process\.(on|once|addListener|prependListener)\(/.test(source(file)))).toEqual([]);
  });
});
