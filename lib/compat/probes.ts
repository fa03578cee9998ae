import { handlesProblem } from './node-handles.js';
import { httpProblem } from './node-http.js';
import { uses } from './report.js';
import { findWs } from './ws-version.js';
import { canStep } from './zlib.js';

/** `nativeAccept` */
export type NativeAccept = 'auto' | 'off';

/** Why connections are not judged on Node's handles; `undefined` where they are. */
export const acceptProblem = (nativeAccept: NativeAccept): string | undefined =>
  nativeAccept === 'off' ? 'nativeAccept is off' : handlesProblem();

/** Probes everything that is used of Node beyond its public interface, before anything of it is used, and reports the ways. */
export function probeNode(nativeAccept: NativeAccept): void {
  say('accept', 'handles', 'sockets', acceptProblem(nativeAccept));
  say('http', 'first bytes', 'upgrade events', httpProblem());
  uses('compression', canStep() ? 'synchronous' : 'asynchronous: zlib streams cannot be stepped');
  uses('ws', findWs().version ?? 'a version that cannot be found');
}

function say(part: string, way: string, fallback: string, problem: string | undefined): void {
  uses(part, problem === undefined ? way : `${fallback}: ${problem}`);
}
