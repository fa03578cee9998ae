// @ts-nocheck
import { Module } from '@nestjs/common';
import { ConfigModule } from '@nestjs/config';
import { SecureWsModule } from 'nest-secure-ws';
import { PricesGateway } from './prices.gateway.js';

@Module({ imports: [ConfigModule.forRoot(), SecureWsModule.forRoot()], providers: [PricesGateway] })
export class FeedModule {}
