// heddle ca, judged by openssl, and taken by the sources that read its files.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import t from 'tap'
import { Rng } from '../../../lib/base/rng.ts'
import { parseBootstrap } from '../../../lib/bootstrap/load.ts'
import { main } from '../../../lib/cli/main.ts'
import type { CertificateManager } from '../../../lib/identity/source/certificate-manager.ts'
import { openManager } from '../../../lib/identity/source/open-manager.ts'
import { eventually } from '../../support/eventually.ts'
import { hasOpenssl } from '../../support/openssl-ca.ts'

const WEB = 'spiffe://td.example/ns/shop/sa/web'
const folder = mkdtempSync(path.join(tmpdir(), 'heddle-ca-command-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))
const at = (...parts: string[]): string => path.join(folder, ...parts)

async function ca(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const said = { stdout: '', stderr: '' }
  const output = (stream: 'stdout' | 'stderr') => ({
    write: (text: string) => {
      said[stream] += text
      return true
    },
  })
  const code = await main(['ca', ...args], { stdout: output('stdout'), stderr: output('stderr'), env: {} })
  return { code, ...said }
}

t.test('init, and what is there already', async (t) => {
  t.match(await ca('init', '--trust-domain', 'TD.example', '--out', at('ca'), '--intermediate'), {
    code: 0,
    stdout: /ca-key\.pem/,
    stderr: '',
  })
  t.same(readdirSync(at('ca')).sort(), ['ca-cert.pem', 'ca-key.pem', 'cert-chain.pem', 'root-cert.pem', 'root-key.pem'])
  for (const key of ['ca-key.pem', 'root-key.pem']) t.equal(statSync(at('ca', key)).mode & 0o777, 0o600)
  const root = readFileSync(at('ca', 'root-cert.pem'), 'utf8')
  t.match(await ca('init', '--out', at('ca')), { code: 2, stderr: /has a CA.*--force replaces it/ })
  t.equal(readFileSync(at('ca', 'root-cert.pem'), 'utf8'), root)
  t.match(await ca('init', '--out', at('other')), { code: 0 })
  t.same(readdirSync(at('other')).sort(), ['ca-cert.pem', 'ca-key.pem', 'cert-chain.pem', 'root-cert.pem'])
  t.match(await ca('init', '--out', at('other'), '--force'), { code: 0 })
  t.match(await ca('init', '--out', at('ca', 'root-cert.pem', 'x')), { code: 4, stderr: /heddle ca: / })
})

t.test('issue', { skip: hasOpenssl() ? false : 'NOT RUN: there is no openssl on this machine' }, async (t) => {
  const issued = await ca('issue', '--ca', at('ca'), '--identity', WEB, '--ttl', '2h', '--out', at('web'))
  t.match(issued, { code: 0, stderr: '' })
  t.equal(issued.stdout.split('\n')[0], WEB)
  t.same(readdirSync(at('web')).sort(), ['cert-chain.pem', 'key.pem', 'root-cert.pem'])
  t.equal(statSync(at('web', 'key.pem')).mode & 0o777, 0o600)
  const verify = ['verify', '-x509_strict', '-CAfile', at('web', 'root-cert.pem'), '-untrusted', at('web', 'cert-chain.pem')]
  t.match(execFileSync('openssl', [...verify, at('web', 'cert-chain.pem')], { encoding: 'utf8' }), /: OK/)
  // istiod hands cert-chain.pem of its folder to verifiers in the same way.
  t.match(
    execFileSync('openssl', ['verify', '-x509_strict', '-CAfile', at('ca', 'root-cert.pem'), at('ca', 'ca-cert.pem')], {
      encoding: 'utf8',
    }),
    /OK/,
  )
  const parts = await ca(
    'issue',
    '--ca',
    at('ca'),
    '--namespace',
    'shop',
    '--service-account',
    'api',
    '--key',
    'rsa-2048',
    '--out',
    at('api'),
  )
  t.match(parts, { code: 0, stdout: /^spiffe:\/\/td\.example\/ns\/shop\/sa\/api\n/ })
  for (const [id, message] of [
    ['spiffe://other/ns/a/sa/b', /the CA is for the trust domain td\.example, not for other/],
    ['spiffe://td.example', /names a trust domain/],
    ['spiffe://td.example//x', /empty segment/],
  ] as const)
    t.match(await ca('issue', '--ca', at('ca'), '--identity', id, '--out', at('bad')), { code: 2, stderr: message })
  t.match(await ca('issue', '--ca', at('ca'), '--namespace', 'a/b', '--service-account', 'c', '--out', at('bad')), {
    code: 2,
    stderr: /a\/b is no namespace/,
  })
})

t.test('the section `identity` of heddle.yaml opens the sources', async (t) => {
  const said: string[] = []
  const open = async (identity: string, env: Record<string, string> = {}): Promise<CertificateManager | null> => {
    const read = parseBootstrap(
      `workload: { namespace: shop, serviceAccount: web }\nidentity: ${identity}`,
      at('heddle.yaml'),
      env,
    )
    if (!read.ok) throw new Error(read.errors.map((e) => e.message).join())
    const log = { info: (m: string) => void said.push(m), warning: (m: string) => void said.push(m) }
    const manager = await openManager({ bootstrap: read.config, env, log, rng: new Rng(1) })
    if (manager !== null) t.teardown(() => manager.close())
    return manager
  }
  t.equal(await open('{ source: none }'), null)

  const process = await open('{ source: dev-ca }')
  process?.start()
  t.equal(await process?.settled(5000), true)
  t.equal(process?.own, 'spiffe://cluster.local/ns/shop/sa/web')

  const devCa = await open(
    '{ source: dev-ca, trustDomain: td.example, devCa: { folder: ca }, bundles: { b.example: other/root-cert.pem } }',
  )
  devCa?.start()
  t.equal(await devCa?.settled(5000), true)
  t.match(devCa?.trust.bundles, [
    { trustDomain: 'td.example', rootsPem: [readFileSync(at('ca', 'root-cert.pem'), 'utf8')] },
    { trustDomain: 'b.example' },
  ])

  const where = 'certificateChain: web/cert-chain.pem, privateKey: web/key.pem, roots: web/root-cert.pem'
  const files = await open(`{ source: files, trustDomain: td.example, files: { ${where} } }`)
  files?.start()
  t.equal(files?.own, WEB)
  const before = files?.material(WEB)?.generation
  t.match(await ca('issue', '--ca', at('ca'), '--identity', WEB, '--out', at('web')), { code: 0 })
  await eventually('issued again into the same folder', () => files?.material(WEB)?.generation !== before)

  t.match((await open('{ source: istio-ca }'))?.options.source.name, 'Istio CA istiod.istio-system.svc:15012')
  t.match((await open('{ source: workload-api }', { SPIFFE_ENDPOINT_SOCKET: 'unix:///nowhere' }))?.options.ownIdentity, '')

  for (const [identity, message] of [
    ['{ source: dev-ca, devCa: { folder: nowhere } }', /identity\.devCa\.folder: .*nowhere has no root-cert\.pem/],
    ['{ source: dev-ca, devCa: { folder: ca } }', /is for td\.example, and identity\.trustDomain is cluster\.local/],
    ['{ source: dev-ca, bundles: { b: nowhere.pem } }', /identity\.bundles: the roots of b cannot be read/],
    ['{ source: dev-ca, bundles: { b: web/key.pem } }', /no certificate in PEM/],
    ['{ source: workload-api, workloadApi: { socket: "unix://host/x" } }', /identity\.workloadApi\.socket: /],
  ] as const)
    await t.rejects(open(identity), { message })
  t.same(said, [])
})
