import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitepress';

const there = ({ link }) => existsSync(fileURLToPath(new URL(`..${link}.md`, import.meta.url)));
const pages = (...entries) => entries.map(([text, link]) => ({ text, link })).filter(there);

export default defineConfig({
  title: 'nest-secure-ws',
  description: 'WebSocket gateways of NestJS that are safe to put on the internet',
  lang: 'en',
  cleanUrls: true,
  srcExclude: ['api/**'],
  cacheDir: '../node_modules/.cache/vitepress',
  themeConfig: {
    search: { provider: 'local' },
    outline: [2, 3],
    socialLinks: [{ icon: 'github', link: 'https://github.com/nest-secure-ws/nest-secure-ws' }],
    sidebar: [
      {
        text: 'Introduction',
        items: pages(['Getting started', '/getting-started'], ['How it works', '/how-it-works'], ['Migrating', '/migrating']),
      },
      {
        text: 'Using it',
        items: pages(
          ['Guards and sessions', '/guards'],
          ['Paths, other libraries', '/paths-and-other-libraries'],
          ['Rooms and broadcast', '/rooms'],
          ['Outbound client', '/client'],
          ['In a browser', '/browser'],
          ['Testing', '/testing'],
          ['Options', '/options'],
        ),
      },
      {
        text: 'Running it',
        items: pages(
          ['Deployment', '/deployment'],
          ['PROXY protocol', '/proxy-protocol'],
          ['Cluster', '/cluster'],
          ['Observability', '/observability'],
          ['Dashboard', '/dashboard'],
          ['Command line', '/command-line'],
        ),
      },
      {
        text: 'Reference',
        items: pages(
          ['Security model', '/security-model'],
          ['Performance', '/performance'],
          ['Compatibility', '/compatibility'],
          ['Upgrading', '/upgrading'],
          ['FAQ', '/faq'],
        ),
      },
    ],
  },
});
