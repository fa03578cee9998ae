import { nameOf } from '../../config/problems.js';
import type { EffectiveSetting } from '../../config/report.js';
import { rowAt } from '../../config/rows.js';
import { VERSION } from '../../version.js';
import { backlog, descriptors, heap, memory } from './checks.machine.js';
import { behindProxy, deadPeers, origins, plaintext, probeToken, trustedProxies, workers } from './checks.network.js';
import { redis } from './checks.redis.js';
import { certificates, keyFile, node, ws } from './checks.versions.js';
import type { Deployment } from './deployment.js';
import { bySeverity, type CheckResult, type Finding, type Severity } from './finding.js';

/** The value of a setting and its source: a gateway, `options`, `environment`, the name of a file, or `default`. */
export interface ShownSetting extends Omit<EffectiveSetting, 'source'> {
  readonly source: string;
}

/** What `doctor --json` prints. The name changes when a field is renamed or removed. */
export interface DoctorReport {
  readonly schema: 'nest-secure-ws/doctor/1';
  readonly version: string;
  readonly node: string;
  readonly settings: readonly ShownSetting[];
  /** The most severe first. */
  readonly findings: readonly Finding[];
  readonly checks: readonly CheckResult[];
  /** How many findings of each severity. */
  readonly counts: Readonly<Record<Severity, number>>;
}

/** The findings, or the reason why the check is not possible here. */
type Check = (deployment: Deployment) => Finding[] | string;

/** Every check by its identifier, in the order of the documentation. */
export const CHECKS: Readonly<Record<string, Check>> = {
  settings,
  plaintext,
  'trusted-proxies': trustedProxies,
  'behind-proxy': behindProxy,
  origins,
  certificates,
  'key-file': keyFile,
  descriptors,
  backlog,
  memory,
  heap,
  'dead-peers': deadPeers,
  'probe-token': probeToken,
  workers,
  redis,
  node,
  ws,
};

/** Runs every check over the facts. */
export function examine(deployment: Deployment, shown: readonly ShownSetting[]): DoctorReport {
  const findings: Finding[] = [];
  const checks: CheckResult[] = [];
  for (const [check, look] of Object.entries(CHECKS)) {
    const outcome = look(deployment);
    if (typeof outcome === 'string') checks.push({ check, status: 'skipped', reason: outcome });
    else checks.push({ check, status: outcome.length === 0 ? 'passed' : 'found' });
    if (typeof outcome !== 'string') findings.push(...outcome);
  }
  const count = (severity: Severity) => findings.filter((each) => each.severity === severity).length;
  return {
    schema: 'nest-secure-ws/doctor/1',
    version: VERSION,
    node: deployment.nodeVersion,
    settings: shown,
    findings: findings.sort(bySeverity),
    checks,
    counts: { error: count('error'), warning: count('warning'), note: count('note') },
  };
}

/** Errors and warnings count; notes with `--strict`. */
export const hasFindings = ({ counts }: DoctorReport, strict: boolean): boolean =>
  counts.error + counts.warning + (strict ? counts.note : 0) > 0;

/** Reports the errors and warnings that the application would report at start. */
function settings({ problems, warnings }: Deployment): Finding[] {
  const finding = (severity: Severity, what: string, why: string): Finding => ({
    check: 'settings',
    severity,
    what,
    why,
    fix: 'Correct the setting.',
    set: [],
  });
  // A separate check reports these, with more detail.
  const isReported = (warning: string) => warning.startsWith(`${nameOf(rowAt('proxy.trusted')!)} contains `);
  return [
    ...problems.map((what) => finding('error', what, 'The application does not start.')),
    ...warnings
      .filter((warning) => !isReported(warning))
      .map((what) => finding('warning', what, 'The application does not behave as its settings suggest.')),
  ];
}
