// The server behind every proxy. Files: nginx over HTTP/1.1 and nghttpd over HTTP/2 where they are installed, else a server of our own; gRPC: our own.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Child, startChild } from './child.ts'
import { findProgram } from './find-program.ts'
import { findNginx, NGINX_INSTALL, nginxPreamble, nginxTemporaryPaths } from './peer-nginx.ts'
import { untilAnswers } from './ready.ts'
import { FILE_BYTES, type Protocol } from './scenario.ts'

export const NGHTTPD_INSTALL = 'apt-get install nghttp2-server (or brew install nghttp2)'

/** Beside 127.0.0.1: where the endpoint of another locality answers. */
export const OTHER_ADDRESS = '127.0.0.2'

/** Further ones, where proxies listen that have to do it on a port of their own choice. */
export const MORE_ADDRESSES: readonly string[] = ['127.0.0.3', '127.0.0.4']

export interface Upstream {
  readonly port: number
  /** What it is, for the heading. */
  readonly title: string
  readonly child: Child
}

/** Starts the upstream that speaks `protocol` and waits until it answers. */
export async function startUpstream(protocol: Protocol, folder: string, port: number, core: number | null): Promise<Upstream> {
  for (const [path, bytes] of Object.entries(FILE_BYTES)) writeFileSync(join(folder, path), 'x'.repeat(bytes))
  const own = (program: string): Child =>
    startChild({ command: process.execPath, args: [join(import.meta.dirname, program), String(port)], core })
  if (protocol === 'grpc') {
    const child = own('grpc-upstream-process.js')
    await untilAnswers(child, port, '/bench.Echo/Unary', protocol)
    return { port, title: 'gRPC: our own codec, Node.js', child }
  }
  let title: string
  let child: Child
  if (protocol === 'http1') {
    const nginx = findNginx()
    title = `HTTP/1.1: ${nginx === null ? `built in, Node.js on raw sockets (nginx would be cheaper: ${NGINX_INSTALL})` : 'nginx, one worker, static files'}`
    child = nginx === null ? own('upstream-process.js') : startNginx(nginx, folder, port, core)
  } else {
    const nghttpd = findProgram('nghttpd', 'NGHTTPD')
    title = `HTTP/2: ${nghttpd === null ? `our own codec, Node.js (nghttpd would be cheaper: ${NGHTTPD_INSTALL})` : 'nghttpd, one worker, static files'}`
    child =
      nghttpd === null
        ? own('grpc-upstream-process.js')
        : startChild({ command: nghttpd, args: ['--no-tls', '-n1', '-d', folder, String(port)], core })
  }
  for (const path of Object.keys(FILE_BYTES)) await untilAnswers(child, port, path, protocol)
  return { port, title, child }
}

/** As cheap as nginx goes, since it shares its core with the load generator. */
function startNginx(program: string, folder: string, port: number, core: number | null): Child {
  const file = join(folder, 'upstream.conf')
  writeFileSync(
    file,
    `${nginxPreamble(folder)}http {
${nginxTemporaryPaths(folder)}  access_log off;
  sendfile on;
  tcp_nopush on;
  open_file_cache max=16 inactive=1h;
  open_file_cache_valid 1h;
  keepalive_requests 1000000000;
  server { listen 127.0.0.1:${port}; ${[OTHER_ADDRESS, ...MORE_ADDRESSES].map((address) => `listen ${address}:${port}; `).join('')}root ${folder}; }
}
`,
  )
  return startChild({ command: program, args: ['-c', file, '-p', folder], core })
}
