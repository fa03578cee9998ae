import { readFileSync } from 'node:fs';
import { expect, it } from '@jest/globals';

// @ts-expect-error a script without types
const { assetsModule } = (await import('../scripts/dashboard-assets.mjs')) as { assetsModule: () => string };

it('lib/dashboard/assets.generated.ts is up to date with lib/dashboard/page', () => {
  expect(readFileSync('lib/dashboard/assets.generated.ts', 'utf8')).toBe(assetsModule());
});
