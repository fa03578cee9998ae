import { X509Certificate } from 'node:crypto';
import { readFileSync, unwatchFile, watchFile } from 'node:fs';
import { createSecureContext } from 'node:tls';
import type { Settings } from '../config/settings.js';
import type { Telemetry } from '../telemetry/events.js';

/** The options with which TLS is set up. */
export interface Pems {
  readonly cert: string | Buffer | undefined;
  readonly key: string | Buffer | undefined;
  readonly ca: string | Buffer | undefined;
}

type TlsSettings = Settings['tls'];

/** Milliseconds between two checks of the files. */
const CHECK_INTERVAL = 1000;

/** Certificate, key and authorities as one set: they are read, checked and replaced together. */
export class TlsFiles {
  private readonly files: readonly string[];
  private listener: (() => void) | undefined;

  constructor(
    private readonly settings: TlsSettings,
    private readonly telemetry: Telemetry,
  ) {
    this.files = [settings.certFile, settings.keyFile, settings.caFile].filter((file) => file !== undefined);
  }

  static areConfigured({ cert, certFile, key, keyFile }: TlsSettings): boolean {
    return (cert ?? certFile ?? key ?? keyFile) !== undefined;
  }

  /** Throws if a file cannot be read, or if certificate and key do not match. */
  read(): Pems {
    return readPems(this.settings);
  }

  /** Calls back with each new valid set. Symlinks are followed, so swapping one counts as a change. */
  watch(onChange: (pems: Pems) => void): void {
    this.listener = () => this.reread(onChange);
    for (const file of this.files) watchFile(file, { persistent: false, interval: CHECK_INTERVAL }, this.listener);
  }

  stop(): void {
    for (const file of this.files) if (this.listener !== undefined) unwatchFile(file, this.listener);
  }

  private reread(onChange: (pems: Pems) => void): void {
    try {
      onChange(this.read());
      this.telemetry.notice(`TLS certificate re-read from ${this.files.join(', ')}`);
    } catch (error) {
      this.telemetry.notice(
        `TLS files ${this.files.join(', ')} do not match (${(error as Error).message}): the old ones are kept`,
      );
    }
  }
}

function readPems({ cert, certFile, key, keyFile, ca, caFile }: TlsSettings): Pems {
  const pems = { cert: cert ?? content(certFile), key: key ?? content(keyFile), ca: ca ?? content(caFile) };
  // Node silently accepts an invalid CA, and then no client certificate verifies.
  if (pems.ca !== undefined) new X509Certificate(pems.ca);
  createSecureContext(pems);
  return pems;
}

const content = (file: string | undefined): Buffer | undefined => (file === undefined ? undefined : readFileSync(file));

/** Error texts for invalid combinations of TLS settings. */
export function tlsProblems(tls: TlsSettings, where: string): string[] {
  const { cert, certFile, key, keyFile, ca, caFile, requestCert } = tls;
  const problems: string[] = [];
  if (cert !== undefined && certFile !== undefined)
    problems.push(`tls.cert and tls.certFile${where} are both set: set only one of them`);
  if (key !== undefined && keyFile !== undefined)
    problems.push(`tls.key and tls.keyFile${where} are both set: set only one of them`);
  if ((cert ?? certFile) !== undefined && (key ?? keyFile) === undefined)
    problems.push(`tls.keyFile (WEBSOCKETS_TLS_KEY)${where} is missing for the certificate`);
  if ((key ?? keyFile) !== undefined && (cert ?? certFile) === undefined)
    problems.push(`tls.certFile (WEBSOCKETS_TLS_CERT)${where} is missing for the key`);
  if (requestCert && (ca ?? caFile) === undefined)
    problems.push(`tls.requestCert (WEBSOCKETS_TLS_REQUEST_CERT)${where} needs tls.caFile (WEBSOCKETS_TLS_CA)`);
  return problems.length > 0 ? problems : unreadable(tls, where);
}

function unreadable(tls: TlsSettings, where: string): string[] {
  if (!TlsFiles.areConfigured(tls)) return [];
  try {
    readPems(tls);
    return [];
  } catch (error) {
    return [`the TLS files${where} cannot be used: ${(error as Error).message}`];
  }
}
