import { existsSync } from 'node:fs';
import { type Browser, chromium } from 'playwright-core';

const PLACES = [process.env['CHROMIUM'], '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

const executablePath = PLACES.find((place) => place !== undefined && existsSync(place));

/** False, with a note, when this machine has no browser. */
export function hasChromium(): boolean {
  if (executablePath === undefined)
    process.stderr.write('No Chromium is installed (nor named by CHROMIUM): the tests in a browser are skipped.\n');
  return executablePath !== undefined;
}

export const launch = (): Promise<Browser> => chromium.launch({ executablePath, headless: true, args: FLAGS });
