import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The versions of `ws` with which the tests have run: major and minor. */
const OLDEST = [8, 21] as const;
const NEWEST = [8, 23] as const;

/** A copy of `ws`. */
export interface WsCopy {
  readonly version: string;
  /** The directory of its `package.json`, with symbolic links resolved. */
  readonly file: string;
}

export interface WsFindings {
  /** The version in use; `undefined` if it cannot be determined, as in a bundle. */
  readonly version: string | undefined;
  /** The reason why the application cannot start. */
  readonly problem: string | undefined;
  readonly warnings: readonly string[];
}

/** Checks this library's copy of `ws`, and the copy that the application's own files get. */
export function checkWs(ours: WsCopy | undefined, applications: WsCopy | undefined): WsFindings {
  const warnings: string[] = [];
  let problem: string | undefined;
  const tested = `${OLDEST.join('.')} to ${NEWEST.join('.')}`;
  if (ours !== undefined && compare(ours.version, OLDEST) < 0)
    problem = `ws ${ours.version} is too old: nest-secure-ws needs ws ${OLDEST.join('.')} or newer; install it or run npm dedupe`;
  else if (ours !== undefined && compare(ours.version, NEWEST) > 0)
    warnings.push(`ws ${ours.version} is newer than what nest-secure-ws was tested with (${tested})`);
  if (ours !== undefined && applications !== undefined && ours.file !== applications.file)
    warnings.push(
      `the application imports another copy of ws (${applications.version}) than nest-secure-ws (${ours.version}): instanceof WebSocket is false for sockets of the other; run npm dedupe`,
    );
  return { version: ours?.version, problem, warnings };
}

let found: WsFindings | undefined;

/** Checks once. */
export function findWs(): WsFindings {
  found ??= checkWs(ownCopy(), copyFor(join(process.cwd(), 'index.js')));
  return found;
}

/** A bundle of an application contains `ws` without its `package.json`. */
function ownCopy(): WsCopy | undefined {
  const place = ownPlace();
  return place !== undefined && isOwnPackage(place) ? copyFor(place) : undefined;
}

/**
 * The path or URL of this file, from a stack trace: `import.meta` cannot be compiled to CommonJS, as Jest does on Nest
 * 11.
 */
const ownPlace = (): string | undefined =>
  /(?:\(|at )((?:file:\/\/|\/|[A-Za-z]:[\\/]).*?)(?::\d+){2}\)?$/m.exec(new Error().stack ?? '')?.[1];

/** Whether the nearest `package.json` of a path or URL is that of this library. */
function isOwnPackage(place: string): boolean {
  let directory = dirname(place.startsWith('file:') ? fileURLToPath(place) : place);
  while (!existsSync(join(directory, 'package.json'))) {
    if (directory === dirname(directory)) return false;
    directory = dirname(directory);
  }
  return nameIn(join(directory, 'package.json')) === 'nest-secure-ws';
}

function nameIn(file: string): unknown {
  try {
    return (JSON.parse(readFileSync(file, 'utf8')) as { name?: unknown } | null)?.name;
  } catch {
    return undefined;
  }
}

function copyFor(file: string): WsCopy | undefined {
  try {
    const resolved = realpathSync(createRequire(file).resolve('ws/package.json'));
    const { version } = JSON.parse(readFileSync(resolved, 'utf8')) as { version?: unknown };
    return typeof version === 'string' ? { version, file: resolved } : undefined;
  } catch {
    return undefined;
  }
}

/** Compares by major and minor version. */
function compare(version: string, [major, minor]: readonly [number, number]): number {
  const [ourMajor = 0, ourMinor = 0] = version.split('.').map((part) => Number.parseInt(part, 10));
  return ourMajor - major || ourMinor - minor;
}
