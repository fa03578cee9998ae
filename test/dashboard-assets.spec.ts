import { readFileSync } from 'node:fs';
import { expect, it } from '@jest/globals';

// @ts-expect-error a script without types
const { assetsModule } = (await import('../scripts/dashboard-assets.mjs')) as { assetsModule: () => string };

it('the page of the dashboard is the one in lib/dashboard/page, and is small', () => {
  const written = readFileSync('lib/dashboard/assets.generated.ts', 'utf8');
  expect(written).toBe(assetsModule());
  expect(Buffer.byteLength(written)).toBeLessThan(120 * 1024);
});
