import { showSize } from '../../config/kinds.js';
import { PER_CONNECTION } from '../../config/report.js';
import { mebibytes } from '../terminal.js';
import type { Deployment } from './deployment.js';
import { type Finding, set } from './finding.js';

/** Number of files that a Nest application has open besides its sockets: modules, logs, database and DNS sockets. */
const OTHER_DESCRIPTORS = 100;
/** Connections that Node asks the kernel to queue (`backlog` of `server.listen()`). */
const NODE_BACKLOG = 511;
/** Memory of a small Nest application before its first connection: measured 75–110 MiB, rounded up. */
export const APPLICATION_MEMORY = 128 * 1024 ** 2;
const MIB = 1024 ** 2;

/** `connections.max` and `connections.maxPending` against the file descriptors of the process. */
export function descriptors({ settings, machine }: Deployment): Finding[] | string {
  const limit = machine.descriptors;
  if (limit === undefined) return 'the limit of open files is not known on this platform';
  const { max, maxPending } = settings.connections;
  const needed = max + maxPending + OTHER_DESCRIPTORS;
  if (needed <= limit) return [];
  const fits = Math.floor(limit - maxPending - OTHER_DESCRIPTORS);
  return [
    {
      check: 'descriptors',
      severity: 'error',
      what: `${max} connections, ${maxPending} pending handshakes and ${OTHER_DESCRIPTORS} other files need ${needed} file descriptors; the process may have ${limit}.`,
      why: 'When they run out, accepting connections, opening files and connecting to databases fail with EMFILE.',
      fix: `Raise the limit (ulimit -n ${needed}; systemd: LimitNOFILE=${needed}; Docker: --ulimit nofile=${needed}), or lower the cap.`,
      set: fits >= 1 ? [set('WEBSOCKETS_MAX_CONNECTIONS', fits)] : [],
    },
  ];
}

/** The kernel's queue of connections waiting to be accepted. */
export function backlog({ settings, machine }: Deployment): Finding[] | string {
  const { somaxconn } = machine;
  if (somaxconn === undefined) return 'net.core.somaxconn is not known on this platform';
  const wanted = Math.min(NODE_BACKLOG, settings.connections.maxPending);
  if (somaxconn >= wanted) return [];
  return [
    {
      check: 'backlog',
      severity: 'warning',
      what: `net.core.somaxconn is ${somaxconn}; Node asks for a queue of ${NODE_BACKLOG}, and connections.maxPending is ${settings.connections.maxPending}.`,
      why: 'A burst of connections, such as all clients after a restart, overflows the queue: SYNs are dropped, and clients retry seconds later.',
      fix: 'sysctl -w net.core.somaxconn=4096 (in a container: --sysctl net.core.somaxconn=4096).',
      set: [],
    },
  ];
}

/** The worst case of the settings against the memory of the container, or of the machine. */
export function memory({ settings, report, machine }: Deployment): Finding[] {
  const { memoryLimit, totalMemory } = machine;
  const limit = Math.min(memoryLimit?.bytes ?? Number.POSITIVE_INFINITY, totalMemory);
  const needed = report.worstCaseBytes + APPLICATION_MEMORY;
  if (needed <= limit) return [];
  const what =
    memoryLimit !== undefined && memoryLimit.bytes <= totalMemory
      ? `the container may have ${mebibytes(limit)} (cgroup v${memoryLimit.cgroup}, ${memoryLimit.file})`
      : `the machine has ${mebibytes(limit)}`;
  const { max } = settings.connections;
  const { budget } = settings.buffers;
  const fitting = lowered(max, budget, report.worstCaseBytes, limit);
  return [
    {
      check: 'memory',
      severity: 'error',
      what: `Peers can make the process hold ${mebibytes(report.worstCaseBytes)}, and the application itself needs about ${mebibytes(APPLICATION_MEMORY)}; ${what}.`,
      why: 'Under load the kernel kills the process (OOM) before the limits take effect.',
      fix:
        fitting === undefined
          ? `Give the process at least ${mebibytes(needed)}.`
          : `Give the process at least ${mebibytes(needed)}, or lower the caps.`,
      set: fitting ?? [],
    },
  ];
}

const LEAST_BUDGET = 32 * MIB;

/** Lowers the buffer budget first, then the connections. `undefined` if fewer than 100 connections would fit. */
function lowered(max: number, budget: number, worst: number, limit: number): Finding['set'] | undefined {
  const room = limit * 0.95 - APPLICATION_MEMORY;
  // The budget of compression contexts is left unchanged.
  const rounded = (bytes: number) => Math.floor(bytes / MIB) * MIB;
  const rest = Math.max(0, worst - budget - max * PER_CONNECTION);
  const lower = Math.min(budget, Math.max(LEAST_BUDGET, rounded(room - rest - max * PER_CONNECTION)));
  const connections = Math.min(max, Math.floor((room - rest - lower) / PER_CONNECTION));
  if (connections < 100) return undefined;
  const lines = [];
  if (lower < budget) lines.push(set('WEBSOCKETS_BUFFER_BUDGET', showSize(lower)));
  if (connections < max) lines.push(set('WEBSOCKETS_MAX_CONNECTIONS', connections));
  return lines;
}

/** V8's heap limit against the container's memory. */
export function heap({ machine }: Deployment): Finding[] | string {
  const { memoryLimit, heapLimit } = machine;
  if (memoryLimit === undefined) return 'there is no container limit';
  if (heapLimit <= memoryLimit.bytes * 0.9) return [];
  const megabytes = Math.max(64, Math.floor((memoryLimit.bytes * 0.7) / MIB));
  return [
    {
      check: 'heap',
      severity: 'warning',
      what: `V8 may let its heap grow to ${mebibytes(heapLimit)}; the container may have ${mebibytes(memoryLimit.bytes)}.`,
      why: 'V8 collects garbage too late, and the kernel kills the process (OOM).',
      fix: "Limit V8's heap to a part of the container's memory.",
      set: [set('NODE_OPTIONS', `--max-old-space-size=${megabytes}`)],
    },
  ];
}
