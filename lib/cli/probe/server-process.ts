import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** Access to processes; tests pass values. */
export interface ProcessReader {
  read(path: string): string | undefined;
  list(path: string): readonly string[];
  link(path: string): string | undefined;
}

export interface Usage {
  /** Resident memory, bytes. */
  readonly memory: number;
  /** Seconds of CPU since its start. */
  readonly cpu: number;
}

const attempt = <T>(action: () => T): T | undefined => {
  try {
    return action();
  } catch {
    return undefined;
  }
};

export const systemProcesses: ProcessReader = {
  read: (path) => attempt(() => readFileSync(path, 'utf8')),
  list: (path) => attempt(() => readdirSync(path)) ?? [],
  link: (path) => attempt(() => readlinkSync(path)),
};

const LISTEN = '0A';

/** The process that listens on a port of this machine, if it is accessible; `undefined` on systems other than Linux. */
export function findListener(port: number, reader: ProcessReader = systemProcesses): number | undefined {
  const inodes = new Set<string>();
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    for (const line of (reader.read(table) ?? '').split('\n').slice(1)) {
      const fields = line.trim().split(/\s+/);
      const [, local = '', , state] = fields;
      if (state === LISTEN && Number.parseInt(local.split(':')[1] ?? '', 16) === port)
        inodes.add(`socket:[${fields[9]}]`);
    }
  }
  if (inodes.size === 0) return undefined;
  return reader
    .list('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .find((pid) => reader.list(`/proc/${pid}/fd`).some((fd) => inodes.has(reader.link(`/proc/${pid}/fd/${fd}`) ?? '')));
}

/** Linux reports CPU time in hundredths of a second. */
const TICKS = 100;

/** The current use of a process; `undefined` if it has ended. */
export function usageOf(pid: number, reader: ProcessReader = systemProcesses): Usage | undefined {
  const stat = reader.read(`/proc/${pid}/stat`);
  if (stat === undefined) return undefined;
  // The name is in parentheses, and may contain both spaces and parentheses.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
  const [, resident = '0'] = /^VmRSS:\s+(\d+) kB/m.exec(reader.read(`/proc/${pid}/status`) ?? '') ?? [];
  return { cpu: (Number(fields[11]) + Number(fields[12])) / TICKS, memory: Number(resident) * 1024 };
}

/** Watches the memory of the server while an attack runs. */
export class UsageWatch {
  private peak = 0;
  private readonly timer: NodeJS.Timeout;
  private readonly before: Usage | undefined;

  constructor(
    private readonly pid: number | undefined,
    private readonly reader: ProcessReader = systemProcesses,
  ) {
    this.before = this.now();
    this.timer = setInterval(() => this.now(), 40);
  }

  private now(): Usage | undefined {
    const usage = this.pid === undefined ? undefined : usageOf(this.pid, this.reader);
    if (usage !== undefined) this.peak = Math.max(this.peak, usage.memory);
    return usage;
  }

  /** Peak growth of memory in bytes and CPU time in seconds; `undefined` if the process is unknown. */
  stop(): Usage | undefined {
    clearInterval(this.timer);
    const after = this.now();
    if (this.before === undefined || after === undefined) return undefined;
    return { memory: Math.max(0, this.peak - this.before.memory), cpu: after.cpu - this.before.cpu };
  }
}
