import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, expect, it } from '@jest/globals';

/**
 * Which room may import what of which others; `types` are erased and cost nothing. A room reaches back, never
 * forward: an edge that is new here is a decision, not an accident.
 */
interface Room {
  readonly values: readonly string[];
  readonly types?: readonly string[];
  readonly packages?: readonly string[];
}
const ROOMS: Readonly<Record<string, Room>> = {
  errors: { values: [] },
  request: { values: ['errors'] },
  stores: { values: [], types: ['admission'] },
  telemetry: { values: ['errors'], types: ['options'] },
  admission: { values: ['errors', 'request', 'stores'], packages: ['ipaddr.js'] },
  // Lists are checked by the rooms that use them: they know what is wrong with an address or an origin.
  options: { values: ['admission', '.'], packages: ['@nestjs/config', 'class-validator'] },
  handshake: { values: ['admission', 'request'], types: ['errors'] },
  compression: { values: [], types: ['request'], packages: ['ws'] },
  connection: { values: ['errors', 'stores'], types: ['compression', 'options', 'telemetry'], packages: ['ws'] },
  decorators: { values: [], types: ['connection', 'options'], packages: ['@nestjs/common', '@nestjs/websockets'] },
  dispatch: {
    values: ['compression', 'connection', 'errors', 'stores'],
    types: ['admission', 'options', 'telemetry'],
    packages: ['@nestjs/common', '@nestjs/core', '@nestjs/websockets', 'rxjs', 'secure-json-parse'],
  },
  listener: { values: ['admission', 'connection', 'errors', 'pipeline', 'request'], types: ['options', 'telemetry'] },
  pipeline: {
    values: ['admission', 'compression', 'connection', 'dispatch', 'errors', 'handshake', 'request', 'stores'],
    types: ['listener', 'options', 'telemetry'],
    packages: ['ws'],
  },
  client: {
    values: ['admission', 'compression', 'connection', 'errors', 'options', 'request', 'stores'],
    packages: ['@nestjs/common', 'ws'],
  },
  testing: { values: ['admission', 'client', 'request'], packages: ['@nestjs/common'] },
};

interface Import {
  readonly file: string;
  readonly room: string;
  /** A room, `.` for the top, or the name of a package. */
  readonly from: string;
  readonly isPackage: boolean;
  readonly isType: boolean;
}

const LIB = 'lib';
const files = readdirSync(LIB, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
const source = (file: string): string => readFileSync(join(LIB, file), 'utf8');
const roomOf = (file: string): string => (file.includes('/') ? file.slice(0, file.indexOf('/')) : '.');
const packageOf = (specifier: string): string =>
  specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');

const IMPORT = /^(?:import|export)( type)?\s+([^;'"]*?)\s+from\s+'([^']+)'/gm;

const imports: Import[] = files.flatMap((file) =>
  [...source(file).matchAll(IMPORT)]
    .filter(([, , , specifier]) => !specifier!.startsWith('node:'))
    .map(([, type, names = '', specifier = '']) => {
      const isPackage = !specifier.startsWith('.');
      const target = isPackage ? packageOf(specifier) : roomOf(relative(LIB, join(LIB, dirname(file), specifier)));
      const each = names
        .replace(/[{}]/g, '')
        .split(',')
        .map((name) => name.trim())
        .filter(Boolean);
      return {
        file,
        room: roomOf(file),
        from: target,
        isPackage,
        isType: type !== undefined || each.every((name) => name.startsWith('type ')),
      };
    }),
);

describe('the rooms of lib/', () => {
  it('are all known', () => {
    expect([...new Set(files.map(roomOf))].filter((room) => room !== '.').sort()).toEqual(Object.keys(ROOMS).sort());
  });

  it.each(Object.entries(ROOMS))('%s imports what it may', (room, { values, types = [], packages = [] }) => {
    const allowed = ({ from, isPackage, isType }: Import): boolean =>
      isPackage ? packages.includes(from) : from === room || values.includes(from) || (isType && types.includes(from));
    const wrong = imports.filter((each) => each.room === room && !allowed(each));
    expect(wrong.map(({ file, from, isType }) => `${file} imports ${isType ? 'types ' : ''}from ${from}`)).toEqual([]);
  });

  it.each(Object.entries(ROOMS))(
    '%s is allowed nothing that it does not need',
    (room, { values, types = [], packages = [] }) => {
      const own = imports.filter((each) => each.room === room);
      const used = (name: string, onlyTypes: boolean) =>
        own.some(({ from, isType }) => from === name && (onlyTypes || !isType));
      expect(values.filter((name) => !used(name, false))).toEqual([]);
      expect([...types, ...packages].filter((name) => !used(name, true))).toEqual([]);
    },
  );

  it('form no circle', () => {
    const reached = (room: string, path: readonly string[]): string[] =>
      path.includes(room)
        ? [[...path, room].join(' → ')]
        : (ROOMS[room]?.values ?? []).flatMap((next) => reached(next, [...path, room]));
    expect(Object.keys(ROOMS).flatMap((room) => reached(room, []))).toEqual([]);
  });

  it('import with their endings, as modules do', () => {
    const bare = files.flatMap((file) =>
      [...source(file).matchAll(IMPORT)]
        .map(([, , , specifier = '']) => `${file}: ${specifier}`)
        .filter((line) => / \.{1,2}\//.test(line) && !line.endsWith('.js')),
    );
    expect(bare).toEqual([]);
  });
});

describe('the files of lib/', () => {
  it('say no `any`', () => {
    const types = /(?::|<|\||&|\bas|=>|,)\s*any\b(?!\s*:)/;
    const withoutComments = (file: string) => source(file).replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
    expect(files.filter((file) => types.test(withoutComments(file)))).toEqual([]);
  });

  it('fit in two screens', () => {
    /** Longer, and known to be. It may become shorter, not longer. */
    const long: Readonly<Record<string, number>> = { 'pipeline/opening.ts': 278, 'connection/secure-socket.ts': 330 };
    const tooLong = files
      .map((file) => ({ file, lines: source(file).split('\n').length }))
      .filter(({ file, lines }) => lines > (long[file] ?? 265));
    expect(tooLong).toEqual([]);
  });

  it('read no environment behind the settings’ back', () => {
    const allowed = ['options/environment.ts'];
    expect(files.filter((file) => /process\.env/.test(source(file)) && !allowed.includes(file))).toEqual([]);
  });

  it('install no process-wide handler', () => {
    expect(files.filter((file) => /process\.(on|once|addListener|prependListener)\(/.test(source(file)))).toEqual([]);
  });
});
