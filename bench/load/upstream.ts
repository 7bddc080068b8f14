// The server behind every proxy: nginx with static files where it is installed, else one of our own on raw sockets.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Child, startChild } from './child.ts'
import { findNginx, NGINX_INSTALL, nginxPreamble, nginxTemporaryPaths } from './peer-nginx.ts'
import { untilAnswers } from './ready.ts'
import { BODY_BYTES } from './scenario.ts'

export interface Upstream {
  /** What it is, for the heading. */
  readonly title: string
  readonly child: Child
}

export async function startUpstream(folder: string, port: number, core: number | null): Promise<Upstream> {
  const nginx = findNginx()
  const title =
    nginx === null
      ? `built in, Node.js on raw sockets (nginx would be cheaper: ${NGINX_INSTALL})`
      : 'nginx, one worker, static files'
  const child = nginx === null ? startBuiltIn(port, core) : startNginx(nginx, folder, port, core)
  for (const path of Object.keys(BODY_BYTES)) await untilAnswers(child, port, path)
  return { title, child }
}

function startBuiltIn(port: number, core: number | null): Child {
  return startChild({ command: process.execPath, args: [join(import.meta.dirname, 'upstream-process.js'), String(port)], core })
}

/** As cheap as nginx goes, since it shares its core with the load generator. */
function startNginx(program: string, folder: string, port: number, core: number | null): Child {
  for (const [path, bytes] of Object.entries(BODY_BYTES)) writeFileSync(join(folder, path), 'x'.repeat(bytes))
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
  server { listen 127.0.0.1:${port}; root ${folder}; }
}
`,
  )
  return startChild({ command: program, args: ['-c', file, '-p', folder], core })
}
