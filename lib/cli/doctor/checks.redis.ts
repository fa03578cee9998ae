import { showDuration } from '../../config/kinds.js';
import { mebibytes } from '../terminal.js';
import type { Deployment } from './deployment.js';
import { type Finding, type Severity, set } from './finding.js';
import type { Asked, RedisFacts, RedisLook } from './redis.js';

const FLOOR = [6, 2] as const;
const CLOCK = 2000;
/** Fewer cannot elect one of them to fail over while one is down. */
const MIN_SENTINELS = 3;
const ALL_SLOTS = 16_384;

type Make = (severity: Severity, what: string, why: string, fix: string, lines?: Finding['set']) => Finding;

const about =
  (where: string): Make =>
  (severity, what, why, fix, lines = []) => ({ check: 'redis', severity, where, what, why, fix, set: lines });

const PER_PROCESS = 'Limits hold per process only, and broadcasts reach one process.';

/** Whether the Redis of `cluster.url` can be used: each server that stores data, and what stands in front of it. */
export function redis({ redis: look, isClustered, settings }: Deployment): Finding[] | string {
  if (look === undefined)
    return isClustered
      ? 'the application passes a client or a store of its own, which is not queried'
      : 'no cluster is configured';
  const findings = [...sentinels(look), ...nodes(look)];
  if (look.failed !== undefined)
    findings.unshift(
      about(`Redis at ${look.address}`)(
        'error',
        `It cannot be queried: ${look.failed}.`,
        PER_PROCESS,
        'Check the URL, the credentials and the firewall.',
      ),
    );
  return findings.concat(look.servers.flatMap((server) => ofServer(server, look.kind, settings.cluster.timeout)));
}

function ofServer(server: Asked<RedisFacts>, kind: RedisLook['kind'], timeout: number): Finding[] {
  const finding = about(`Redis at ${server.address}`);
  if ('failed' in server)
    return [
      finding(
        'error',
        `It cannot be queried: ${server.failed}.`,
        PER_PROCESS,
        'Check the address, the password and the firewall.',
      ),
    ];
  const findings: Finding[] = [];
  if (kind !== 'cluster' && server.mode === 'cluster')
    findings.push(
      finding(
        'error',
        'It is a node of a Redis Cluster.',
        'It rejects commands for keys of other nodes.',
        'Use redis+cluster://host:port,host:port.',
      ),
    );
  const [major = 0, minor = 0] = server.version.split('.').map(Number);
  if (server.server === 'redis' && (major < FLOOR[0] || (major === FLOOR[0] && minor < FLOOR[1])))
    findings.push(
      finding(
        'error',
        `It is version ${server.version}.`,
        `The cluster uses commands that were introduced in ${FLOOR.join('.')}.`,
        'Run Redis 7 or Valkey 8.',
      ),
    );
  if (server.role !== 'master')
    findings.push(
      finding(
        'error',
        `It is a ${server.role}.`,
        'A replica rejects writes: connections cannot be counted.',
        kind === 'single'
          ? 'Use the address of the primary, or redis+sentinel://.'
          : 'If a failover is not in progress, check the configuration of the replicas.',
      ),
    );
  return [...findings, ...memory(server, finding), ...time(server, timeout, finding)];
}

function memory({ maxMemory, usedMemory, evictionPolicy }: RedisFacts, finding: Make): Finding[] {
  const findings: Finding[] = [];
  if (maxMemory > 0 && evictionPolicy !== 'noeviction')
    findings.push(
      finding(
        'warning',
        `maxmemory is ${mebibytes(maxMemory)} with maxmemory-policy ${evictionPolicy}.`,
        'When memory is full, counts, bans and tickets are evicted: limits are no longer exact.',
        'CONFIG SET maxmemory-policy noeviction, or use a separate Redis.',
      ),
    );
  if (maxMemory > 0 && usedMemory > maxMemory * 0.9)
    findings.push(
      finding(
        'warning',
        `${mebibytes(usedMemory)} of ${mebibytes(maxMemory)} are in use.`,
        'A full Redis rejects writes: limits then hold per process only.',
        'Raise maxmemory.',
      ),
    );
  return findings;
}

function time({ latency, clockAhead }: RedisFacts, timeout: number, finding: Make): Finding[] {
  const findings: Finding[] = [];
  if (latency > timeout / 4)
    findings.push(
      finding(
        latency > timeout ? 'error' : 'warning',
        `A round trip takes ${latency.toFixed(1)} ms; cluster.timeout is ${showDuration(timeout)}.`,
        'Every admission waits for a round trip; past the timeout limits hold per process only.',
        'Move Redis closer to the application, or raise the timeout.',
        [set('WEBSOCKETS_CLUSTER_TIMEOUT', showDuration(Math.ceil((latency * 4) / 100) * 100))],
      ),
    );
  if (Math.abs(clockAhead) > CLOCK)
    findings.push(
      finding(
        'warning',
        `Its clock is ${Math.round(Math.abs(clockAhead) / 1000)} s ${clockAhead > 0 ? 'ahead of' : 'behind'} this machine's.`,
        'Bans and tickets expire too early or too late.',
        'Synchronise both clocks (NTP).',
      ),
    );
  return findings;
}

/** Whether a failover is possible, and is found. */
function sentinels({ sentinels: all }: RedisLook): Finding[] {
  const findings: Finding[] = [];
  const answers = all.flatMap((each) => {
    if (!('failed' in each)) return [each];
    findings.push(
      about(`Sentinel at ${each.address}`)(
        'warning',
        `It cannot be queried: ${each.failed}.`,
        'A process that starts or reconnects depends on the other Sentinels of the URL.',
        'Check the address, sentinelUsername and sentinelPassword, the name of the master and the firewall.',
      ),
    );
    return [];
  });
  const [first] = answers;
  if (first === undefined) return findings;
  const finding = about(`Sentinel at ${first.address}`);
  const masters = new Set(answers.map(({ master: { host, port } }) => `${host} ${port}`));
  if (masters.size > 1)
    findings.push(
      finding(
        'error',
        'The Sentinels name different masters.',
        'Processes count in different servers: limits do not hold.',
        'If a failover is not in progress, check that the Sentinels watch the same master and can reach each other.',
      ),
    );
  if (first.status !== 'ok')
    findings.push(
      finding('error', `The master's status is ${first.status}.`, PER_PROCESS, 'Start the master, or fail over.'),
    );
  if (first.replicas === 0)
    findings.push(finding('warning', 'The master has no replica.', 'A failover is not possible.', 'Add a replica.'));
  if (first.sentinels < MIN_SENTINELS)
    findings.push(
      finding(
        'warning',
        `${first.sentinels === 1 ? 'It is the only Sentinel' : `There are ${first.sentinels} Sentinels`} of this master.`,
        'A failover needs a majority of the Sentinels: while one of them is down, there is none.',
        `Run at least ${MIN_SENTINELS} Sentinels, on separate machines.`,
      ),
    );
  else if (all.length === 1)
    findings.push(
      finding(
        'note',
        `The URL names one of ${first.sentinels} Sentinels.`,
        'While this one is down, a process that starts does not find the master.',
        'Name several Sentinels in the URL.',
      ),
    );
  return findings;
}

/** Whether a Redis Cluster has all its slots, and keeps them when a node ends. */
function nodes({ nodes: all }: RedisLook): Finding[] {
  const findings: Finding[] = [];
  const answers = all.flatMap((each) => {
    if (!('failed' in each)) return [each];
    findings.push(
      about(`Redis at ${each.address}`)(
        'warning',
        `It cannot be queried as a node of a Redis Cluster: ${each.failed}.`,
        'A process that starts depends on the other nodes of the URL.',
        'Check the address, the credentials and the firewall.',
      ),
    );
    return [];
  });
  const broken = answers.find(({ state, slots }) => state !== 'ok' || slots < ALL_SLOTS);
  if (broken !== undefined)
    findings.push(
      about(`Redis at ${broken.address}`)(
        'error',
        `The state of the cluster is ${broken.state || 'unknown'}; ${broken.slots} of ${ALL_SLOTS} slots are served.`,
        'Counts of some addresses and users cannot be kept: their limits hold per process only.',
        'Run redis-cli --cluster check, and start the nodes that are missing.',
      ),
    );
  const alone = answers[0]?.masters.filter(({ replicas }) => replicas === 0).length ?? 0;
  if (alone > 0)
    findings.push(
      about(`Redis at ${answers[0]!.address}`)(
        'note',
        `${alone} of ${answers[0]!.masters.length} masters have no replica.`,
        'While such a master is down, limits of the addresses and users on it hold per process only.',
        'Add a replica to each master.',
      ),
    );
  return findings;
}
