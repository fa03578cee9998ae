// As `nest new` writes it, with the one line that a package of ES modules needs.
module.exports = {
  moduleFileExtensions: ['js', 'json', 'ts'],
  rootDir: 'src',
  testRegex: '.*\\.spec\\.ts$',
  transform: { '^.+\\.(t|j)s$': 'ts-jest' },
  transformIgnorePatterns: ['/node_modules/(?!nest-secure-ws/)'],
  testEnvironment: 'node',
};
