import { afterEach } from '@jest/globals';
import type { TestApp } from './app.js';
import type { RawClient } from './raw-client.js';

/** What one test has opened. */
export interface Opened {
  app: TestApp | undefined;
  readonly clients: RawClient[];
}

/** Ends the clients and the application of each test of a spec behind it. */
export function openedByTests(): Opened {
  const opened: Opened = { app: undefined, clients: [] };
  afterEach(async () => {
    for (const client of opened.clients.splice(0)) client.destroy();
    const { app } = opened;
    opened.app = undefined;
    await app?.close();
  });
  return opened;
}
