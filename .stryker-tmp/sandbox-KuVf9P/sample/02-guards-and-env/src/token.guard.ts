// @ts-nocheck
import { Injectable } from '@nestjs/common';
import { type AdmissionGuard, allow, refuse, type UpgradeAttempt } from 'nest-secure-ws';
import { Sessions } from './sessions.js';

@Injectable()
export class TokenGuard implements AdmissionGuard {
  constructor(private readonly sessions: Sessions) {}

  async admit({ headers }: UpgradeAttempt) {
    const token = /^Bearer (.+)$/.exec(headers['authorization'] ?? '')?.[1];
    const session = token && (await this.sessions.find(token));
    if (!session) return refuse(401, 'Unauthorized', { 'WWW-Authenticate': 'Bearer' });
    return allow({ principal: session.user, expiresAt: session.expiresAt });
  }
}
