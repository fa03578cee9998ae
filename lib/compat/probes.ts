import { handlesProblem } from './node-handles.js';
import { httpProblem } from './node-http.js';
import { parentProblem } from './node-tls.js';
import { reportUse } from './report.js';
import { findWs } from './ws-version.js';
import { canStep } from './zlib.js';

/** `nativeAccept` */
export type NativeAccept = 'auto' | 'off';

/** The reason why connections are not checked on Node's handles; `undefined` if they are. */
export const acceptProblem = (nativeAccept: NativeAccept): string | undefined =>
  nativeAccept === 'off' ? 'nativeAccept is off' : handlesProblem();

/** Probes every internal of Node that this library can use, before its first use, and reports the variants in use. */
export function probeNode(nativeAccept: NativeAccept): void {
  reportPart('accept', 'handles', 'sockets', acceptProblem(nativeAccept));
  reportPart('http', 'first bytes', 'upgrade events', httpProblem());
  reportPart('tls', 'sockets under TLS', 'addresses of TCP', parentProblem());
  reportUse('compression', canStep() ? 'synchronous' : 'asynchronous: zlib streams cannot be stepped');
  reportUse('ws', findWs().version ?? 'a version that cannot be found');
}

function reportPart(part: string, way: string, fallback: string, problem: string | undefined): void {
  reportUse(part, problem === undefined ? way : `${fallback}: ${problem}`);
}
