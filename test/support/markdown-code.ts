import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import ts from 'typescript';

/** The code blocks of one language in a Markdown file. */
export const codeBlocks = (file: string, language: string): string[] =>
  [...readFileSync(file, 'utf8').matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm'))].map(
    (match) => match[1]!,
  );

/** The file that a block names in its first line: `// src/app.module.ts`. */
export const fileOf = (block: string): string | undefined => /^\/\/ (src\/\S+\.ts)\n/.exec(block)?.[1];

/** The errors of these texts compiled as modules in the repository's root; those that name their file can import each other. */
export function compileErrors(texts: readonly string[]): string[] {
  const { config } = ts.readConfigFile('tsconfig.json', ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, '.');
  const files = new Map(texts.map((text, index) => [resolve(fileOf(text) ?? `block-${index + 1}.ts`), text]));
  const settings = {
    ...options,
    noUnusedLocals: false,
    noUnusedParameters: false,
    paths: {
      'nest-secure-ws': ['./lib/index.ts'],
      'nest-secure-ws/guards': ['./lib/guards/index.ts'],
      'nest-secure-ws/testing': ['./lib/testing/index.ts'],
    },
  };
  const host = ts.createCompilerHost(settings);
  const { readFile, fileExists, getSourceFile } = host;
  host.readFile = (name) => files.get(resolve(name)) ?? readFile(name);
  // The folder of named files need not exist.
  host.directoryExists = undefined;
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
