import { Injectable } from '@nestjs/common';
import { ConfigService } from '@nestjs/config';

export interface User {
  readonly id: string;
}

const HOUR = 3_600_000;

/** The logged-in users. A real application asks a database or verifies a signature. */
@Injectable()
export class Sessions {
  private readonly users: ReadonlyMap<string, User>;

  constructor(config: ConfigService) {
    const pairs = config.get<string>('TOKENS', '').split(',');
    this.users = new Map(pairs.map((pair) => pair.split(':')).map(([token = '', id = '']) => [token, { id }]));
  }

  async find(token: string): Promise<{ user: User; expiresAt: number } | undefined> {
    const user = this.users.get(token);
    return user && { user, expiresAt: Date.now() + HOUR };
  }
}
