// nginx as a peer: one worker, keep-alive to both sides, access log in the combined format to /dev/null.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { startChild } from './child.ts'
import { findProgram, versionOf } from './find-program.ts'
import type { Peer, PeerSite } from './peer.ts'

export const NGINX_INSTALL = 'apt-get install nginx-light (or brew install nginx)'

/** Path of nginx, or null. */
export function findNginx(): string | null {
  return findProgram('nginx', 'NGINX')
}

export function nginxPeer(): Peer {
  const program = findNginx()
  return {
    id: 'nginx',
    setup: 'worker_processes 1, proxy_http_version 1.1, upstream keepalive, access log to /dev/null',
    version: program === null ? null : versionOf(program, ['-v'], /nginx\/(\S+)/),
    install: NGINX_INSTALL,
    // It speaks HTTP/2 to clients only.
    suits: (scenario) => scenario.upstream === 'http1' && scenario.hop === null,
    start(site) {
      const file = join(site.folder, 'nginx.conf')
      writeFileSync(file, `${nginxPreamble(site.folder)}${configuration(site)}`)
      return startChild({ command: program ?? 'nginx', args: ['-c', file, '-p', site.folder], core: site.core })
    },
  }
}

/** Everything outside `http`, with all of nginx's files in `folder`. */
export function nginxPreamble(folder: string): string {
  mkdirSync(join(folder, 'tmp'), { recursive: true, mode: 0o777 })
  return `daemon off;
worker_processes 1;
pid ${join(folder, 'nginx.pid')};
error_log stderr error;
events { worker_connections 4096; }
`
}

/** The temporary paths, which default to folders that only root may write. */
export function nginxTemporaryPaths(folder: string): string {
  return ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((kind) => `  ${kind}_temp_path ${join(folder, 'tmp', kind)};\n`)
    .join('')
}

function configuration(site: PeerSite): string {
  return `http {
${nginxTemporaryPaths(site.folder)}  access_log /dev/null combined;
  # The default of 1,000 requests would make connection churn part of the measurement.
  keepalive_requests 1000000000;
  upstream one {
    server 127.0.0.1:${site.upstreamPort};
    keepalive 128;
    keepalive_requests 1000000000;
  }
  server {
    listen 127.0.0.1:${site.port}${site.client === 'http1' ? '' : ' http2'};
    location / {
      proxy_pass http://one;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
    }
  }
}
`
}
