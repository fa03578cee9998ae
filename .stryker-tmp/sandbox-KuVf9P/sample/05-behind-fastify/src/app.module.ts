// @ts-nocheck
import { Module } from '@nestjs/common';
import { SecureWsModule } from 'nest-secure-ws';
import { PageController } from './page.controller.js';
import { SumGateway } from './sum.gateway.js';

@Module({ imports: [SecureWsModule.forRoot()], controllers: [PageController], providers: [SumGateway] })
export class AppModule {}
