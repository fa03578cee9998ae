// Mutation of the pure modules: what their own unit specs must notice. See CONTRIBUTING.md, "Proof".
//   npm run mutation                    all of them
//   npm run mutation:quick              those that the gate looks at (QUICK=1)
const QUICK = process.env['QUICK'] === '1';

/** Small modules that decide who gets in: few mutants, and specs that take milliseconds. */
const QUICK_FILES = [
  'lib/http/extensions.ts',
  'lib/admission/{host,origin,access-rules}.ts',
  'lib/protocol/close-codes.ts',
];
const ALL_FILES = [
  'lib/http/*.ts',
  'lib/protocol/*.ts',
  'lib/protocol/deflate/negotiation.ts',
  'lib/protocol/deflate/pool.ts',
  'lib/admission/*.ts',
  'lib/config/{consistency,environment,kinds,near-names,problems,report,resolve}.ts',
  'lib/handshake/router.ts',
  'lib/dispatch/{json-structure,message-parser}.ts',
  'lib/net/{address,address-list,network-map,proxy-protocol,ring,timer-wheel,token-bucket}.ts',
];
const PURE = ['admission', 'config', 'dispatch', 'handshake', 'net', 'protocol', 'request', 'stores'];
const QUICK_SPECS = ['request/checks', 'admission/access-rules', 'protocol/close-codes'];

/** @type {import('@stryker-mutator/api/core').PartialStrykerOptions} */
export default {
  mutate: QUICK ? QUICK_FILES : ALL_FILES,
  testRunner: 'jest',
  testRunnerNodeArgs: ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning'],
  jest: {
    configFile: 'jest.config.mjs',
    config: {
      reporters: ['default'],
      testMatch: QUICK
        ? QUICK_SPECS.map((spec) => `<rootDir>/test/unit/${spec}.spec.ts`)
        : PURE.map((folder) => `<rootDir>/test/unit/${folder}/**/*.spec.ts`),
    },
  },
  coverageAnalysis: 'perTest',
  // A mutant of what runs while a module is loaded would need every spec again.
  ignoreStatic: true,
  ignorePatterns: ['docs', 'dist', 'bench', 'sample', 'coverage', 'observability'],
  incremental: true,
  incrementalFile: `.stryker/${QUICK ? 'quick' : 'all'}.json`,
  // Measured: 90.7 % of the small set.
  thresholds: { high: 95, low: 90, break: QUICK ? 89 : null },
  concurrency: 2,
  timeoutMS: 10_000,
  reporters: ['clear-text', 'progress-append-only', 'json'],
  clearTextReporter: { allowColor: false, logTests: false, reportTests: false },
  jsonReporter: { fileName: `.stryker/report-${QUICK ? 'quick' : 'all'}.json` },
  tempDirName: '.stryker/tmp',
};
