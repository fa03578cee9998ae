/** Access to the machine: files under /proc and /sys, and values of Node. Tests pass their own. */
export interface MachineReader {
  /** The text of a file; `undefined` if it cannot be read. */
  read(path: string): string | undefined;
  /** Bytes of memory of the machine. */
  readonly totalMemory: number;
  /** V8's limit for the heap of this process, bytes. */
  readonly heapLimit: number;
}

export interface MemoryLimit {
  readonly bytes: number;
  readonly cgroup: 1 | 2;
  /** The file with this limit. */
  readonly file: string;
}

/** The limits that the machine sets for a process. */
export interface Machine {
  /** Maximum number of open files (`ulimit -n`); `undefined` if unknown. */
  readonly descriptors: number | undefined;
  /** Connections that the kernel queues for a listening socket before they are accepted. */
  readonly somaxconn: number | undefined;
  /** The container's memory limit, if there is one. */
  readonly memoryLimit: MemoryLimit | undefined;
  readonly totalMemory: number;
  readonly heapLimit: number;
}

/** Reads the limits of a process: `self`, or the pid of a running one. */
export function readMachine(reader: MachineReader, pid: number | 'self' = 'self'): Machine {
  const { totalMemory, heapLimit } = reader;
  return {
    descriptors: descriptorLimit(reader.read(`/proc/${pid}/limits`)),
    somaxconn: positive(reader.read('/proc/sys/net/core/somaxconn')),
    memoryLimit: memoryLimit(reader, pid),
    totalMemory,
    heapLimit,
  };
}

/** The soft limit; a running Node process has raised it to the hard limit already. */
function descriptorLimit(limits: string | undefined): number | undefined {
  const [, soft] = /^Max open files\s+(\S+)/m.exec(limits ?? '') ?? [];
  return soft === 'unlimited' ? Number.POSITIVE_INFINITY : positive(soft);
}

function positive(text: string | undefined): number | undefined {
  const value = Number(text?.trim() || Number.NaN);
  return Number.isFinite(value) && value > 0 ? value : undefined;
}

const V2_MOUNTS = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'];
const V1_MOUNT = '/sys/fs/cgroup/memory';

/** The minimum of the limits of the process's control groups, up to the root. */
function memoryLimit(reader: MachineReader, pid: number | 'self'): MemoryLimit | undefined {
  const groups = (reader.read(`/proc/${pid}/cgroup`) ?? '').split('\n').map((line) => line.split(':'));
  const v2 = groups.find(([hierarchy, controllers]) => hierarchy === '0' && controllers === '');
  const v1 = groups.find(([, controllers]) => controllers?.split(',').includes('memory'));
  const files: [file: string, cgroup: 1 | 2][] = [];
  for (const folder of ancestors(v2?.slice(2).join(':'))) {
    for (const mount of V2_MOUNTS)
      files.push([`${mount}${folder}/memory.max`, 2], [`${mount}${folder}/memory.high`, 2]);
  }
  for (const folder of ancestors(v1?.slice(2).join(':'))) files.push([`${V1_MOUNT}${folder}/memory.limit_in_bytes`, 1]);
  let least: MemoryLimit | undefined;
  for (const [file, cgroup] of files) {
    const bytes = positive(reader.read(file));
    // Version 1 represents "no limit" by a number near 2^63.
    if (bytes === undefined || bytes >= 2 ** 60) continue;
    if (least === undefined || bytes < least.bytes) least = { bytes, cgroup, file };
  }
  return least;
}

/** `/a/b` → `/a/b`, `/a`, and the root. A container often sees its own group mounted as the root. */
function ancestors(path: string | undefined): string[] {
  if (path === undefined) return [];
  const parts = path.split('/').filter((part) => part !== '' && part !== '..');
  return parts.map((_, at) => `/${parts.slice(0, parts.length - at).join('/')}`).concat('');
}
