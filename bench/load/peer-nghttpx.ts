// nghttpx of nghttp2 as a peer, where clients speak HTTP/2: one worker, no access log.
import { startChild } from './child.ts'
import { findProgram, versionOf } from './find-program.ts'
import type { Peer } from './peer.ts'

export function nghttpxPeer(): Peer {
  const program = findProgram('nghttpx', 'NGHTTPX')
  return {
    id: 'nghttpx',
    setup: 'one worker, x-forwarded-for, no access log',
    version: program === null ? null : versionOf(program, ['--version'], /nghttp2\/(\S+)/),
    install: 'apt-get install nghttp2-proxy (or brew install nghttp2)',
    suits: (scenario) => scenario.client !== 'http1' && scenario.hop === null,
    start(site) {
      const proto = site.upstream === 'http1' ? '' : ';;proto=h2'
      const args = [
        '--conf=/dev/null',
        '--workers=1',
        '--add-x-forwarded-for',
        `--frontend=127.0.0.1,${site.port};no-tls`,
        `--backend=127.0.0.1,${site.upstreamPort}${proto}`,
      ]
      return startChild({ command: program ?? 'nghttpx', args, core: site.core })
    },
  }
}
