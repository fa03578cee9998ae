import { createServer } from 'node:net';
import { Module } from '@nestjs/common';

/** Listens in its constructor. */
@Module({})
export class AppModule {
  constructor() {
    createServer().listen(Number(process.env['PORT']), '127.0.0.1');
  }
}
