import { existsSync } from 'node:fs';
import { parseEnv } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import type { ForeignUpgrades, SecureGatewayOptions, SecurePortOptions, SecureWsOptions } from 'nest-secure-ws';
import ts from 'typescript';
import { resolveSettings } from '../../../lib/config/resolve.js';
import { ROWS } from '../../../lib/config/rows.js';
import type { TABLE } from '../../../lib/config/table.js';
import { codeBlocks } from '../../support/markdown-code.js';
import { envExample, optionSchema } from '../../support/option-files.js';

type IsRow = { readonly row: true };
type Input<R> = R extends { readonly input?: infer I } ? Exclude<I, undefined> : never;
/** The input types that the option table declares. */
type InputOf<T> = {
  readonly [K in keyof T]?: T[K] extends IsRow ? Input<T[K]> : { readonly [L in keyof T[K]]?: Input<T[K][L]> };
};
type Same<A, B> = [A, B] extends [B, A] ? true : never;

// Compared by the compiler (`npm run types`): the written interfaces equal the types of the option table.
const isSame: Same<Required<SecureWsOptions>, Required<InputOf<typeof TABLE>>> = true;
const isSameForeign: Same<ForeignUpgrades['connections'], SecureGatewayOptions['connections']> = true;
const shared: SecureGatewayOptions = { path: '/', connections: { max: 1 }, messages: { maxSize: '1kb' } };
const dedicated: SecurePortOptions = { ...shared, tls: null, listen: { host: '::1' } };
// @ts-expect-error a gateway on the application's port has no TLS of its own
const wrong: SecureGatewayOptions = { tls: {} };
// @ts-expect-error the application has one list of trusted proxies
const wrongToo: SecurePortOptions = { proxy: { trusted: [] } };
void [isSame, isSameForeign, shared, dedicated, wrong, wrongToo];

describe('option interfaces', () => {
  it("document each option's purpose, default, unit, variable and scope for an editor's hover", () => {
    const name = 'hover.ts';
    const text = `import type { SecureWsOptions, SecurePortOptions } from './lib/index.js';
export const options: SecureWsOptions = {};
export const port: SecurePortOptions = {};\n`;
    const program = ts.createProgram({
      rootNames: [name],
      options: { module: ts.ModuleKind.NodeNext, skipLibCheck: true, noEmit: true, types: [] },
      host: withFile(name, text),
    });
    const checker = program.getTypeChecker();
    const typeOf = (index: number): ts.Type => {
      const statement = program.getSourceFile(name)!.statements[index] as ts.VariableStatement;
      return checker.getTypeAtLocation(statement.declarationList.declarations[0]!);
    };
    const member = (type: ts.Type, key: string): ts.Symbol => checker.getNonNullableType(type).getProperty(key)!;
    const hover = (type: ts.Type, { group, key }: { group: string | undefined; key: string }): string => {
      const holder = group === undefined ? type : checker.getTypeOfSymbol(member(type, group));
      return ts.displayPartsToString(member(holder, key).getDocumentationComment(checker));
    };
    for (const entry of ROWS) {
      const { path, row } = entry;
      for (const type of row.scope === 'a' ? [typeOf(1)] : [typeOf(1), typeOf(2)]) {
        const said = hover(type, entry).replaceAll('\n', ' ').replaceAll('*\\/', '*/');
        expect([path, said]).toEqual([path, expect.stringContaining(row.means)]);
        expect(said).toMatch(/Default: .+\. .*Scope: /);
        expect(said).toContain(row.variable === undefined ? 'Code only.' : `Variable: \`${row.variable}\`.`);
        if (row.type === 'Duration') expect(said).toContain('Unit of a plain number: milliseconds.');
        if (row.type === 'Size') expect(said).toContain('Unit of a plain number: bytes.');
      }
    }
  }, 180_000);
});

describe('.env.example', () => {
  it('names every variable once and sets none', () => {
    const names = [...envExample().matchAll(/^#(WEBSOCKETS_\w+)=/gm)].map(([, name]) => name);
    expect(names).toEqual(ROWS.flatMap(({ row }) => row.variable ?? []));
    expect(parseEnv(envExample())).toEqual({});
  });

  it('keeps the defaults when every line is uncommented', () => {
    const variables = parseEnv(envExample().replace(/^#(?=WEBSOCKETS_)/gm, ''));
    const { settings } = resolveSettings({}, { get: (name) => variables[name], names: Object.keys(variables) });
    const defaults = resolveSettings({}, { get: () => undefined, names: [] }).settings;
    // Empty values remove the two identification headers.
    expect(settings).toEqual({
      ...defaults,
      serverHeader: null,
      client: { ...defaults.client, userAgentHeader: null },
    });
  });
});

describe('the JSON schema', () => {
  const schema = JSON.parse(optionSchema()) as Schema;
  interface Schema {
    properties?: Record<string, Schema>;
    anyOf?: Schema[];
    enum?: unknown[];
    type?: string;
    pattern?: string;
    minimum?: number;
    maximum?: number;
    minLength?: number;
    additionalProperties?: boolean;
  }

  /** A validator for the few keywords that the schema uses. */
  function accepts(rule: Schema, value: unknown): boolean {
    if (rule.anyOf !== undefined) return rule.anyOf.some((each) => accepts(each, value));
    if (rule.enum !== undefined) return rule.enum.includes(value);
    if (rule.type === 'null') return value === null;
    if (rule.type === 'array') return Array.isArray(value);
    if (rule.type === 'string')
      return (
        typeof value === 'string' && new RegExp(rule.pattern ?? '').test(value) && value.length >= (rule.minLength ?? 0)
      );
    if (rule.type === 'number' || rule.type === 'integer')
      return (
        typeof value === 'number' &&
        (rule.type === 'number' || Number.isInteger(value)) &&
        value >= (rule.minimum ?? value) &&
        value <= (rule.maximum ?? value)
      );
    if (rule.type === 'boolean') return typeof value === 'boolean';
    if (typeof value !== 'object' || value === null) return false;
    const { properties = {}, additionalProperties } = rule;
    return Object.entries(value).every(([key, inner]) =>
      properties[key] === undefined ? additionalProperties !== false : accepts(properties[key], inner),
    );
  }

  it('accepts the file in docs/options.md, as `forRoot()` does, and rejects a misspelt option', () => {
    const [block = ''] = codeBlocks('docs/options.md', 'json');
    const file = JSON.parse(block) as { $schema: string; connections: object };
    const none = { get: () => undefined, names: [] };
    expect(accepts(schema, file)).toBe(true);
    expect(resolveSettings(file, none).settings.connections.maxPerIp).toBe(20);
    expect(existsSync(file.$schema.replace('./node_modules/nest-secure-ws/', ''))).toBe(true);
    for (const wrong of [{ connections: { maxPerIP: 20 } }, { $schema: 5 }, { messages: { maxSize: '16kbit' } }]) {
      expect(accepts(schema, wrong)).toBe(false);
      expect(() => resolveSettings(wrong as object, none)).toThrow(/invalid setting/);
    }
  });

  it.each(ROWS.filter(({ row }) => row.schema !== undefined).map((entry) => [entry.path, entry] as const))(
    '%s accepts what the option table accepts',
    (_, { group, key, row }) => {
      const rule = (group === undefined ? schema : schema.properties![group]!).properties![key]!;
      for (const value of [row.default, row.removable ? null : undefined, '64KB', '90 s', '1mb', 3, 0, -1, true, 'x,y'])
        if (value !== undefined && (value === null ? row.removable : row.parse(value) !== undefined))
          expect([value, accepts(rule, value)]).toEqual([value, true]);
      for (const value of [-1, 1.5, Symbol('x'), 'a b'])
        if (row.type === 'Size' || row.type === 'number | string')
          expect([value, accepts(rule, value)]).toEqual([value, row.parse(value) !== undefined]);
    },
  );
});

function withFile(name: string, text: string): ts.CompilerHost {
  const host = ts.createCompilerHost({});
  const { getSourceFile, fileExists } = host;
  host.fileExists = (file) => file === name || fileExists(file);
  host.getSourceFile = (file, version, ...rest) =>
    file === name ? ts.createSourceFile(name, text, version, true) : getSourceFile(file, version, ...rest);
  return host;
}
