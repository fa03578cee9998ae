// @ts-nocheck
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import ts from 'typescript';

const README = readFileSync('README.md', 'utf8');

/** The blocks of one language. */
const blocks = (language: string): string[] =>
  [...README.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm'))].map((match) => match[1]!);

/** Compiles texts as if they were modules beside the README. */
function compile(texts: readonly string[]): string[] {
  const { config } = ts.readConfigFile('tsconfig.json', ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, '.');
  const files = new Map(texts.map((text, index) => [resolve(`readme-${index + 1}.ts`), text]));
  const settings = {
    ...options,
    noUnusedLocals: false,
    noUnusedParameters: false,
    paths: { 'nest-secure-ws': ['./lib/index.ts'], 'nest-secure-ws/testing': ['./lib/testing/index.ts'] },
  };
  const host = ts.createCompilerHost(settings);
  const { readFile, fileExists, getSourceFile } = host;
  host.readFile = (name) => files.get(resolve(name)) ?? readFile(name);
  host.fileExists = (name) => files.has(resolve(name)) || fileExists(name);
  host.getSourceFile = (name, version, ...rest) => {
    const text = files.get(resolve(name));
    return text === undefined ? getSourceFile(name, version, ...rest) : ts.createSourceFile(name, text, version, true);
  };
  const program = ts.createProgram([...files.keys()], settings, host);
  return [...files.keys()].flatMap((name) =>
    ts
      .getPreEmitDiagnostics(program, program.getSourceFile(name))
      .filter(({ file }) => file !== undefined && files.has(resolve(file.fileName)))
      .map(({ file, messageText }) => `${file!.fileName}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`),
  );
}

describe('the code of the README', () => {
  it('compiles', () => {
    const texts = blocks('ts');
    expect(texts.length).toBeGreaterThan(2);
    expect(compile(texts)).toEqual([]);
  }, 60_000);

  it('would be found out if it did not', () => {
    expect(compile(["import { nothing } from 'nest-secure-ws';\nexport const x: number = nothing;\n"])).toHaveLength(1);
  }, 60_000);

  it('names scripts that there are', () => {
    const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as { scripts: Record<string, string> };
    for (const [, name] of README.matchAll(/npm run ([\w:-]+)/g)) expect(Object.keys(scripts)).toContain(name);
  });
});
