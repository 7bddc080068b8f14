import { spawn, spawnSync } from 'node:child_process'
import os from 'node:os'
import path from 'node:path'

const INSTALL = 'go install github.com/summerwind/h2spec/cmd/h2spec@latest'

/** `path`: null when it is not there; `skip`: why, or false. */
export const H2SPEC = find()

function find(): { readonly path: string | null; readonly skip: string | false } {
  const found = ['h2spec', path.join(os.homedir(), 'go/bin/h2spec')].find(
    (p) => spawnSync(p, ['--version'], { stdio: 'ignore' }).error === undefined,
  )
  if (found !== undefined) return { path: found, skip: false }
  const skip = `h2spec is not installed: ${INSTALL}`
  process.stderr.write(`SKIPPED: ${skip}\n`)
  return { path: null, skip }
}

/** All cases, strictly. `failures`: the part of the report that names them. */
export async function runH2spec(port: number): Promise<{ code: number | null; out: string; failures: string }> {
  const child = spawn(H2SPEC.path as string, ['--strict', '-h', '127.0.0.1', '-p', String(port), '-o', '10'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let out = ''
  child.stdout.setEncoding('utf8').on('data', (d: string) => {
    out += d
  })
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve))
  return { code, out, failures: out.slice(out.indexOf('Failures:')) }
}
