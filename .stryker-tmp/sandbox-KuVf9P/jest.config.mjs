// @ts-nocheck
// The specs run against lib/ by default, and against the built package with DIST=1.
const dist = process.env.DIST === '1';

/** @type {import('jest').Config} */
export default {
  roots: ['<rootDir>/test', '<rootDir>/lib'],
  testMatch: ['<rootDir>/test/**/*.spec.ts'],
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
      : { '^nest-secure-ws$': '<rootDir>/lib/index.ts', '^nest-secure-ws/testing$': '<rootDir>/lib/testing/index.ts' }),
  },
  coverageProvider: 'v8',
  collectCoverageFrom: ['lib/**/*.ts'],
  reporters: ['default', '<rootDir>/scripts/jest-summary.mjs'],
  maxWorkers: 2,
  testTimeout: 30_000,
};
