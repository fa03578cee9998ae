import { afterEach } from '@jest/globals';
import type { TestApp } from './app.js';
import type { RawClient } from './raw-client.js';

/** The application and clients that one test has opened. */
export interface Opened {
  app: TestApp | undefined;
  readonly clients: RawClient[];
}

/** Destroys the clients and closes the application after each test of a spec. */
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
