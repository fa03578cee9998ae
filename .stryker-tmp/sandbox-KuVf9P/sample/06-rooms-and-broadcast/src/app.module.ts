// @ts-nocheck
import { Module } from '@nestjs/common';
import { SecureWsModule } from 'nest-secure-ws';
import { Clock } from './clock.js';
import { RoomsGateway } from './rooms.gateway.js';

@Module({ imports: [SecureWsModule.forRoot()], providers: [RoomsGateway, Clock] })
export class AppModule {}
