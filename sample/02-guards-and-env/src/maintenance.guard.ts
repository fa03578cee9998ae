import { Injectable } from '@nestjs/common';
import { ConfigService } from '@nestjs/config';
import { type AdmissionGuard, refuse } from 'nest-secure-ws';

/** Refuses everyone while `MAINTENANCE=true`. */
@Injectable()
export class MaintenanceGuard implements AdmissionGuard {
  constructor(private readonly config: ConfigService) {}

  admit() {
    if (this.config.get('MAINTENANCE') !== 'true') return true;
    return refuse(503, 'Back soon', { 'Retry-After': '60' });
  }
}
