import type { Chain } from './certificates.js';
import type { Deployment, TlsFacts } from './deployment.js';
import type { Finding, Severity } from './finding.js';

const DAY = 86_400_000;
const day = (time: number): string => new Date(time).toISOString().slice(0, 10);

/** The last day of support of each major version of Node (nodejs/Release, schedule.json). */
const NODE_END: Readonly<Record<number, string>> = {
  20: '2026-04-30',
  21: '2024-06-01',
  22: '2027-04-30',
  23: '2025-06-01',
  24: '2028-04-30',
  25: '2026-06-01',
  26: '2029-04-30',
};
const NODE_WARN = 60 * DAY;

/** Node's end of life. */
export function node({ nodeVersion, now }: Deployment): Finding[] | string {
  const major = Number(nodeVersion.replace(/^v/, '').split('.')[0]);
  const end = NODE_END[major];
  if (end === undefined) return `the end of life of Node ${major} is not known to this version`;
  const left = Date.parse(end) + DAY - now;
  if (left > NODE_WARN) return [];
  return [
    {
      check: 'node',
      severity: left > 0 ? 'note' : 'warning',
      what: `Node ${nodeVersion} ${left > 0 ? `reaches its end of life on ${end}` : `has had no security fixes since ${end}`}.`,
      why: 'Vulnerabilities in its HTTP parser, TLS and zlib, which this library uses, are no longer fixed.',
      fix: 'Upgrade to a supported version of Node: https://nodejs.org/en/about/previous-releases',
      set: [],
    },
  ];
}

/** The oldest `ws` that this library is tested with; older ones have known vulnerabilities or other internals. */
const WS_FLOOR = [8, 21] as const;

/** The version of `ws`. Only its newest major version gets fixes. */
export function ws({ wsVersion }: Deployment): Finding[] | string {
  if (wsVersion === undefined) return 'ws is not installed where this library is';
  const [major = 0, minor = 0] = wsVersion.split('.').map(Number);
  if (major > WS_FLOOR[0] || (major === WS_FLOOR[0] && minor >= WS_FLOOR[1])) return [];
  return [
    {
      check: 'ws',
      severity: 'error',
      what: `ws is ${wsVersion}${major < WS_FLOOR[0] ? ', a major version that is no longer maintained' : ''}.`,
      why: `Peers can exhaust the memory of versions before ${WS_FLOOR.join('.')}, and this library is not tested with them.`,
      fix: 'npm install ws@8',
      set: [],
    },
  ];
}

const CERTIFICATE_ERROR = 7 * DAY;
const CERTIFICATE_WARNING = 21 * DAY;

/** Expiry, chain, names and key of every certificate. */
export function certificates({ tls, now, problems }: Deployment): Finding[] | string {
  if (tls.length === 0) return 'no certificate is configured here';
  // Unreadable files are reported by the `settings` check.
  if (problems.length > 0) return 'the settings have problems';
  return tls.flatMap((facts) => {
    const file = facts.certFile ?? 'tls.cert';
    const finding = (severity: Severity, what: string, why: string, fix: string): Finding => ({
      check: 'certificates',
      severity,
      where: facts.where,
      what: `${file}: ${what}`,
      why,
      fix,
      set: [],
    });
    if (typeof facts.chain === 'string')
      return [finding('error', facts.chain, 'The start fails.', 'Name a PEM file with WEBSOCKETS_TLS_CERT.')];
    return [...validity(facts.chain, now, finding), ...trust(facts.chain, finding)];
  });
}

type Make = (severity: Severity, what: string, why: string, fix: string) => Finding;

function validity({ leaf, others }: Chain, now: number, finding: Make): Finding[] {
  return [leaf, ...others].flatMap(({ subject, notBefore, notAfter }) => {
    const left = notAfter - now;
    const renew = 'Renew it; the files are re-read when they change.';
    const refused = 'Clients refuse the connection.';
    if (left <= 0) return [finding('error', `${subject} expired on ${day(notAfter)}.`, refused, renew)];
    if (notBefore > now)
      return [finding('error', `${subject} is not valid before ${day(notBefore)}.`, refused, 'Check the clock.')];
    if (left > CERTIFICATE_WARNING) return [];
    const days = Math.floor(left / DAY);
    const severity = left <= CERTIFICATE_ERROR ? 'error' : 'warning';
    return [
      finding(severity, `${subject} expires on ${day(notAfter)}, in ${days} days.`, `${refused} from then on.`, renew),
    ];
  });
}

function trust({ leaf, state }: Chain, finding: Make): Finding[] {
  const findings: Finding[] = [];
  if (state === 'self-signed')
    findings.push(
      finding(
        'warning',
        'the certificate is self-signed.',
        'Clients refuse it unless they were configured to trust it.',
        'Use a certificate of an authority, such as Let’s Encrypt.',
      ),
    );
  if (state === 'incomplete')
    findings.push(
      finding(
        'warning',
        'the chain does not lead to an authority that Node trusts.',
        'Clients without the intermediate certificate refuse the connection.',
        'Append the intermediate certificates (fullchain.pem), and to a private chain its root.',
      ),
    );
  if (state === 'unordered')
    findings.push(
      finding(
        'error',
        'a certificate is not issued by the one that follows it.',
        'Clients that do not reorder chains refuse the connection (RFC 8446, section 4.4.2).',
        'Put the server certificate first, then its issuer, and so on.',
      ),
    );
  if (leaf.names.length === 0)
    findings.push(
      finding(
        'error',
        'there is no subjectAltName.',
        'Clients ignore the subject, and refuse the certificate.',
        'Issue it with its host names.',
      ),
    );
  if (leaf.rsaBits !== undefined && leaf.rsaBits < 2048)
    findings.push(
      finding(
        'error',
        `the RSA key has ${leaf.rsaBits} bits.`,
        'OpenSSL and browsers refuse it.',
        'Use 2048 bits, or an EC key.',
      ),
    );
  return findings;
}

/** Permissions of private keys. */
export function keyFile({ tls }: Deployment): Finding[] | string {
  const files = tls.filter(({ keyMode }) => keyMode !== undefined);
  if (files.length === 0) return 'no key file is configured here';
  return files.filter(isOpen).map(({ where, keyFile: file, keyMode }) => ({
    check: 'key-file',
    severity: 'warning',
    where,
    what: `${file} can be read by every user of the machine (mode ${(keyMode! & 0o777).toString(8)}).`,
    why: 'Every user of the machine can impersonate this server.',
    fix: `chmod 640 ${file}`,
    set: [],
  }));
}

const isOpen = ({ keyMode }: TlsFacts): boolean => (keyMode! & 0o004) !== 0;
