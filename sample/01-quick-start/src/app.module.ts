import { Module } from '@nestjs/common';
import { SecureWsModule } from 'nest-secure-ws';
import { EchoGateway } from './echo.gateway.js';

@Module({ imports: [SecureWsModule.forRoot()], providers: [EchoGateway] })
export class AppModule {}
