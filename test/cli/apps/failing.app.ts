import { Module } from '@nestjs/common';

@Module({})
export class AppModule {
  constructor() {
    throw new Error('cannot reach postgres://app:canary-of-a-password@db/prod');
  }
}
