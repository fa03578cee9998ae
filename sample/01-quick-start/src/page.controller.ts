import { readFileSync } from 'node:fs';
import { Controller, Get, Header } from '@nestjs/common';
import { SecureWsAdapter } from 'nest-secure-ws';

/** Only files of this server: no inline script, no other host, no framing. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

const file = (name: string): string => readFileSync(new URL(`../page/${name}`, import.meta.url), 'utf8');

/** The page with which a browser tries the gateway. */
@Controller()
export class PageController {
  private readonly html = file('index.html');
  private readonly css = file('page.css');
  private readonly js = file('page.js');
  private readonly svg = file('icon.svg');

  constructor(private readonly adapter: SecureWsAdapter) {}

  @Get()
  @Header('Content-Type', 'text/html; charset=utf-8')
  @Header('Content-Security-Policy', POLICY)
  @Header('X-Content-Type-Options', 'nosniff')
  @Header('Referrer-Policy', 'no-referrer')
  @Header('Cache-Control', 'no-cache')
  page(): string {
    return this.html;
  }

  @Get('page.css')
  @Header('Content-Type', 'text/css; charset=utf-8')
  @Header('Cache-Control', 'no-cache')
  style(): string {
    return this.css;
  }

  @Get('page.js')
  @Header('Content-Type', 'text/javascript; charset=utf-8')
  @Header('Cache-Control', 'no-cache')
  script(): string {
    return this.js;
  }

  @Get('icon.svg')
  @Header('Content-Type', 'image/svg+xml')
  icon(): string {
    return this.svg;
  }

  /** The settings that the page shows. */
  @Get('settings.json')
  @Header('Cache-Control', 'no-store')
  settings() {
    const { serverHeader, messages, keepalive, compression, dashboard } = this.adapter.settings;
    return {
      server: serverHeader ?? null,
      maxSize: messages.maxSize,
      rate: messages.rate,
      strikes: messages.strikes,
      pingInterval: keepalive.pingInterval ?? null,
      compression: compression.mode,
      dashboard: dashboard.token !== undefined,
    };
  }
}
