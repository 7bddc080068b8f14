// HAProxy as a peer: one thread, and the same work as heddle's minimum, keep-alive to both sides and x-forwarded-for.
// `haproxy` writes no access log, as in the aim; `haproxy-log` writes HTTP log lines to /dev/null, as people run it.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { startChild } from './child.ts'
import { findProgram, versionOf } from './find-program.ts'
import type { Hop, Peer, PeerSite } from './peer.ts'

export function haproxyPeer(withLog: boolean): Peer {
  const program = findProgram('haproxy', 'HAPROXY')
  return {
    id: withLog ? 'haproxy-log' : 'haproxy',
    setup: `nbthread 1, http-reuse always, forwardfor, ${withLog ? 'httplog to /dev/null' : 'no access log'}`,
    version: program === null ? null : versionOf(program, ['-v'], /version (\S+)/),
    install: 'apt-get install haproxy (or brew install haproxy)',
    suits: (scenario) => scenario.hop !== 'hbone' && (!withLog || (scenario.client === 'http1' && scenario.hop === null)),
    start(site) {
      const file = join(site.folder, 'haproxy.cfg')
      writeFileSync(file, configuration(site, withLog))
      const command = program ?? 'haproxy'
      // The log goes to standard output, and a pipe to this harness would be work for the other core.
      return withLog
        ? startChild({ command: '/bin/sh', args: ['-c', 'exec "$0" -db -f "$1" >/dev/null', command, file], core: site.core })
        : startChild({ command, args: ['-db', '-f', file], core: site.core })
    },
  }
}

function configuration(site: PeerSite, withLog: boolean): string {
  return `global
  nbthread 1
  maxconn 4096
${withLog ? '  log stdout format raw local0 info\n' : ''}
defaults
  mode http
${withLog ? '  log global\n  option httplog\n' : ''}  timeout connect 5s
  timeout client 60s
  timeout server 60s

frontend in
  bind 127.0.0.1:${site.port}${site.client === 'http1' ? '' : ' proto h2'}
  option forwardfor
  default_backend upstream

backend upstream
  http-reuse always
${site.hop === null ? '' : secondHop(site.hop)}  server one 127.0.0.1:${site.upstreamPort}${site.upstream === 'http1' ? '' : ' proto h2'}
`
}

/** The server of the first backend, and a listener with a backend of its own. */
function secondHop({ port, protocol, certificates: { root, both } }: Hop): string {
  const alpn = protocol === 'http2' ? 'h2' : 'http/1.1'
  return `  server hop 127.0.0.1:${port} ssl crt ${both} ca-file ${root} verify required alpn ${alpn}

frontend hop
  bind 127.0.0.1:${port} ssl crt ${both} ca-file ${root} verify required alpn h2,http/1.1
  default_backend application

backend application
  http-reuse always
`
}
