// The specs run against lib/ by default, and against the built package with DIST=1.
const dist = process.env.DIST === '1';

/** @type {import('jest').Config} */
export default {
  roots: ['<rootDir>/test', '<rootDir>/lib'],
  testMatch: ['<rootDir>/test/**/*.spec.ts'],
  // An application of Nest 11, with a Jest of its own: scripts/try-nest-11.mjs.
  testPathIgnorePatterns: ['/node_modules/', '<rootDir>/test/nest-11/'],
  setupFiles: ['<rootDir>/test/support/chance.mjs'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      {
        jsc: {
          target: 'es2022',
          keepClassNames: true,
          parser: { syntax: 'typescript', decorators: true },
          transform: { legacyDecorator: true, decoratorMetadata: true, useDefineForClassFields: false },
        },
        module: { type: 'es6' },
        sourceMaps: 'inline',
      },
    ],
  },
  moduleNameMapper: {
    '^(\\.{1,2}/.*)\\.js$': '$1',
    ...(dist
      ? {}
      : {
          '^nest-secure-ws$': '<rootDir>/lib/index.ts',
          '^nest-secure-ws/guards$': '<rootDir>/lib/guards/index.ts',
          '^nest-secure-ws/testing$': '<rootDir>/lib/testing/index.ts',
        }),
  },
  coverageProvider: 'v8',
  collectCoverageFrom: ['lib/**/*.ts'],
  reporters: ['default', '<rootDir>/scripts/jest-summary.mjs'],
  maxWorkers: 2,
  // A worker ends when nothing is open any more, and then frees its heap: near a gigabyte, which takes half a second. After
  // this time Jest kills it and reports that a spec left something open.
  workerGracefulExitTimeout: 30_000,
  // Longer than any single wait of a test, so that the failed wait is reported by what it waited for.
  testTimeout: 90_000,
};
