import { readFileSync } from 'node:fs';
import { expect, it } from '@jest/globals';

// @ts-expect-error a script without types
const { assetsModule } = (await import('../scripts/dashboard-assets.mjs')) as { assetsModule: () => string };

it('the dashboard page has at most 120 KiB in total', async () => {
  const { ASSETS } = await import('../lib/dashboard/assets.generated.js');
  const sizes = Object.values(ASSETS).map((asset) => Buffer.byteLength(asset!.body));
  expect(sizes.length).toBeGreaterThan(2);
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThanOrEqual(120 * 1024);
});

it('lib/dashboard/assets.generated.ts is up to date with lib/dashboard/page', () => {
  expect(readFileSync('lib/dashboard/assets.generated.ts', 'utf8')).toBe(assetsModule());
});
