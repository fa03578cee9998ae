import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from '@jest/globals';

/**
 * The modules (folders of `lib/`), the lowest layer first: a file imports from its own module and from modules earlier in
 * this list, types included. A new order is a decision.
 */
const MODULES = [
  'compat',
  'net',
  'http',
  'protocol',
  'telemetry',
  'admission',
  'config',
  'connection',
  'dispatch',
  'guards',
  'cluster',
  'client',
  'handshake',
  'server',
  'nest',
  'dashboard',
  'testing',
  'cli',
];

/** Files that import from a module below their own, from which files, and why. */
const EXCEPTIONS: Readonly<Record<string, { readonly from: readonly string[]; readonly why: string }>> = {
  'admission/bans.ts': { from: ['config/kinds.ts'], why: 'the time of a ban is written as in the options' },
  'config/options.ts': { from: ['cluster/contract.ts'], why: 'options hold a store and a bus' },
  'config/table.cluster.ts': {
    from: ['cluster/contract.ts', 'cluster/redis/client.ts', 'cluster/redis/url.ts'],
    why: 'options hold a store, a bus, a client of Redis or its address',
  },
  'telemetry/stats.ts': {
    from: ['cluster/node.ts', 'config/report.ts'],
    why: 'statistics repeat the report of the settings and the state of the cluster',
  },
};

/** Files of `lib/` itself that any module imports: they import nothing. */
const SHARED = ['version.ts'];

const LIB = 'lib';
const files = readdirSync(LIB, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
const source = (file: string): string => readFileSync(join(LIB, file), 'utf8');
const moduleOf = (file: string): string => (file.includes('/') ? file.slice(0, file.indexOf('/')) : '.');

interface Import {
  readonly file: string;
  /** The imported file, relative to `lib/`. */
  readonly target: string;
}

/** Imports and re-exports, of values and of types, and `import()` of either. */
const IMPORT = /(?:^(?:import|export)\s[^;'"]*?\sfrom\s+|^import\s+|\bimport\()'(\.[^']+)'/gm;

const imports: readonly Import[] = files.flatMap((file) =>
  [...source(file).matchAll(IMPORT)].map(([, specifier = '']) => ({
    file,
    target: join(dirname(file), specifier).replace(/\.js$/, '.ts'),
  })),
);

/** Every cycle of files that import each other, values or types. */
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
  it('are all in the list', () => {
    expect([...new Set(files.map(moduleOf))].filter((name) => name !== '.').sort()).toEqual([...MODULES].sort());
  });

  it('import only from the modules above them in the list, with the listed exceptions', () => {
    const found: Record<string, string[]> = {};
    for (const { file, target } of imports) {
      const isSurface = moduleOf(file) === '.' && !SHARED.includes(file);
      const isBelow = moduleOf(target) !== '.' && MODULES.indexOf(moduleOf(target)) <= MODULES.indexOf(moduleOf(file));
      if (isSurface || isBelow || SHARED.includes(target)) continue;
      found[file] = [...new Set([...(found[file] ?? []), target])].sort();
    }
    expect(found).toEqual(Object.fromEntries(Object.entries(EXCEPTIONS).map(([file, { from }]) => [file, from])));
  });

  it('have no import cycle', () => {
    expect(circles()).toEqual([]);
  });
});

describe('the files of lib/', () => {
  it('use no `any`', () => {
    const types = /(?::|<|\||&|\bas|=>|,)\s*any\b(?!\s*:)/;
    const withoutComments = (file: string) => source(file).replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
    expect(files.filter((file) => types.test(withoutComments(file)))).toEqual([]);
  });

  it('read the environment in one file', () => {
    const allowed = ['config/environment.ts'];
    expect(files.filter((file) => /process\.env/.test(source(file)) && !allowed.includes(file))).toEqual([]);
  });

  it('load packages that few applications need only where these need them', () => {
    const homes = {
      '@nestjs/config': 'nowhere',
      commander: 'cli',
      ioredis: 'nowhere',
      jose: 'nowhere',
    };
    const imported = Object.entries(homes).flatMap(([name, home]) => {
      const value = new RegExp(`^(?:import|export) (?!type )[^;'"]*? from '${name.replace('.', '\\.')}'`, 'm');
      return files.filter((file) => moduleOf(file) !== home && value.test(source(file))).map((file) => [name, file]);
    });
    expect(imported).toEqual([]);
  });

  it('install no process-wide handler', () => {
    expect(files.filter((file) => /process\.(on|once|addListener|prependListener)\(/.test(source(file)))).toEqual([]);
  });
});

describe('the file headers that describe the path of a handshake and of a message', () => {
  /** Names in a comment: files, and functions or methods of them; a name before any file belongs to `file`. */
  function namesIn(file: string, start: string): { readonly file: string; readonly name: string }[] {
    const text = source(file);
    const comment = text.slice(text.indexOf(start), text.indexOf('*/', text.indexOf(start)));
    let at = file;
    return comment.split('\n').flatMap((line) => {
      if (/^ \* {2}\S/.test(line)) at = file;
      return [...line.matchAll(/`([\w./-]+)`/g)].flatMap(([, name = '']) => {
        if (!name.endsWith('.ts')) return [{ file: at, name }];
        at = name.includes('/') ? name : join(dirname(file), name);
        return [];
      });
    });
  }

  it.each([
    ['handshake/stages.ts', 'From accept to the 101', 8],
    ['connection/message-reader.ts', "Reads one peer's messages", 14],
  ])('%s names only files and functions that exist', (file, start, least) => {
    const names = namesIn(file, start).filter(({ name }) => name !== 'WebSocket');
    expect(names.length).toBeGreaterThanOrEqual(least);
    const defines = (text: string, name: string) =>
      new RegExp(
        `^ *(?:/\\*\\*.*\\*/ )?(?:(?:export|private|protected|abstract|readonly|async) )*(?:function )?${name}\\(`,
        'm',
      ).test(text);
    expect(names.filter(({ file: of, name }) => !files.includes(of) || !defines(source(of), name))).toEqual([]);
  });
});
