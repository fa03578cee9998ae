// Mutation of the pure modules: what their own unit specs must notice. See CONTRIBUTING.md, "Proof".
/** @type {import('@stryker-mutator/api/core').PartialStrykerOptions} */
export default {
  testRunner: 'jest',
  testRunnerNodeArgs: ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning'],
  jest: { configFile: 'jest.config.mjs', config: { reporters: ['default'], testMatch: ['<rootDir>/test/unit/request/*.spec.ts', '<rootDir>/test/unit/admission/*.spec.ts'] } },
  coverageAnalysis: 'perTest',
  mutate: ['lib/http/host.ts'],
  ignoreStatic: true,
  concurrency: 2,
  reporters: ['clear-text', 'progress'],
  tempDirName: '.stryker-tmp',
};
