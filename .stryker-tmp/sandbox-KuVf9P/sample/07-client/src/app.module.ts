// @ts-nocheck
import { Module } from '@nestjs/common';
import { ConfigModule } from '@nestjs/config';
import { SecureWsModule } from 'nest-secure-ws';
import { Prices } from './prices.js';

@Module({ imports: [ConfigModule.forRoot(), SecureWsModule.forRoot()], providers: [Prices] })
export class AppModule {}
