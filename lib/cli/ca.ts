// heddle ca: the certificates of a mesh, for a laptop or a test.
import path from 'node:path'
import { parseDuration } from '../base/duration.ts'
import { parseSpiffeId, parseTrustDomain, spiffeIdText, workloadIdentityText } from '../identity/spiffe-id.ts'
import { type Arguments, type Command, type CommandIo, UsageError } from './command.ts'
import { EXIT_OK, EXIT_START, EXIT_USAGE } from './exit-codes.ts'

/** Istio MAX_WORKLOAD_CERT_TTL: 90 days. */
const MAX_TTL_MS = 90 * 86_400_000
const KEYS = ['ecdsa-p256', 'rsa-2048'] as const
const ACTIONS = ['init', 'issue'] as const

export const caCommand: Command = {
  name: 'ca',
  summary: 'make the certificates of a mesh, for a laptop or a test',
  usage: [
    'ca init --trust-domain NAME [--out DIR] [--intermediate] [--key KIND] [--force]',
    'ca issue --identity spiffe://... [--ca DIR] [--ttl DURATION] [--key KIND] [--out DIR]',
    'ca issue --namespace NAME --service-account NAME [--ca DIR] ...',
  ],
  description: `
init makes a CA: root-cert.pem, ca-cert.pem, ca-key.pem and cert-chain.pem, the names that istiod takes as its own CA (secret cacerts).
issue makes a workload's certificate with it: cert-chain.pem, key.pem and root-cert.pem, the names that Istio mounts, and that heddle takes
with \`identity: { source: files }\`. Issue again into the same folder, and a proxy that watches it takes the new one.
Keys are readable for their owner only. Whoever has ca-key.pem can be anybody in the mesh: not for production.`,
  flags: {
    'trust-domain': { type: 'string', value: 'NAME', help: 'init: of the mesh; default: cluster.local' },
    intermediate: { type: 'boolean', value: '', help: 'init: workloads are signed by a second CA below the root' },
    force: { type: 'boolean', value: '', help: 'init: replace a CA that is there' },
    ca: { type: 'string', value: 'DIR', help: 'issue: folder of the CA; default: ca' },
    identity: { type: 'string', value: 'ID', help: 'issue: spiffe://...' },
    namespace: { type: 'string', value: 'NAME', help: 'issue: instead of --identity, with --service-account' },
    'service-account': { type: 'string', value: 'NAME', help: 'issue: instead of --identity, with --namespace' },
    ttl: { type: 'string', value: 'DURATION', help: 'issue: how long it is valid, up to 2160h; default: 24h' },
    key: { type: 'string', value: 'KIND', help: 'ecdsa-p256 (default) or rsa-2048' },
    out: { type: 'string', value: 'DIR', help: 'where to write; default: ca (init), this folder (issue)' },
  },
  run: async (args, io) => {
    const [action, ...more] = args.positionals
    if (action === undefined) throw new UsageError(`expected ${ACTIONS.join(' or ')}`)
    if (more.length > 0) throw new UsageError(`unexpected ${more[0]}`)
    if (action === 'init') return init(args, io)
    if (action === 'issue') return issue(args, io)
    throw new UsageError(`expected ${ACTIONS.join(' or ')}; found ${action}`)
  },
}

async function init(args: Arguments, io: CommandIo): Promise<number> {
  onlyFor(args, 'issue', ['ca', 'identity', 'namespace', 'service-account', 'ttl'])
  const domain = parseTrustDomain(args.text('trust-domain') ?? 'cluster.local')
  if (!domain.ok) throw new UsageError(`--trust-domain: ${domain.error}`)
  const folder = path.resolve(args.text('out') ?? 'ca')
  const { hasAuthority, writeAuthority } = await import('../identity/source/ca-folder.ts')
  if (hasAuthority(folder) && !args.has('force')) {
    io.stderr.write(`heddle ca: ${folder} has a CA; its certificates would not be trusted any more. --force replaces it.\n`)
    return EXIT_USAGE
  }
  const { CertificateAuthority } = await import('../identity/source/certificate-authority.ts')
  const options = { trustDomain: domain.name, intermediate: args.has('intermediate'), keyKind: keyKind(args), nowMs: Date.now() }
  const authority = await CertificateAuthority.create(options)
  return written(io, () => writeAuthority(folder, authority.material))
}

async function issue(args: Arguments, io: CommandIo): Promise<number> {
  onlyFor(args, 'init', ['trust-domain', 'intermediate', 'force'])
  const { readAuthority, writeWorkload } = await import('../identity/source/ca-folder.ts')
  const { generateKey, privateKeyPem } = await import('../identity/source/private-key.ts')
  const ttl = args.text('ttl') ?? '24h'
  const ttlMs = parseDuration(ttl)
  if (ttlMs === null || ttlMs < 1000 || ttlMs > MAX_TTL_MS)
    throw new UsageError(`--ttl: expected a duration of 1s to 2160h, such as 24h; found ${ttl}`)
  checkNames(args)
  const kind = keyKind(args)
  let authority: Awaited<ReturnType<typeof readAuthority>>
  try {
    authority = await readAuthority(path.resolve(args.text('ca') ?? 'ca'))
  } catch (error) {
    io.stderr.write(`heddle ca: ${(error as Error).message}\n`)
    return EXIT_USAGE
  }
  const identity = identityOf(args, authority.trustDomain)
  const key = await generateKey(kind)
  const chain = authority.issue(identity, key, ttlMs, Date.now())
  io.stdout.write(`${identity}\n`)
  return written(io, () =>
    writeWorkload(path.resolve(args.text('out') ?? '.'), chain, privateKeyPem(key), authority.material.rootPem),
  )
}

function checkNames(args: Arguments): void {
  const byParts = args.has('namespace') || args.has('service-account')
  if (args.has('identity') === byParts)
    throw new UsageError('issue needs --identity, or --namespace and --service-account in its place')
  if (byParts && !(args.has('namespace') && args.has('service-account')))
    throw new UsageError('--namespace and --service-account belong together')
}

/** Canonical; of the trust domain of the CA. */
function identityOf(args: Arguments, trustDomain: string): string {
  const given = args.text('identity')
  const parsed = parseSpiffeId(
    given ?? workloadIdentityText(trustDomain, args.text('namespace') ?? '', args.text('service-account') ?? ''),
  )
  if (!parsed.ok) throw new UsageError(parsed.error)
  if (given === null && parsed.id.namespace !== args.text('namespace'))
    throw new UsageError(`${args.text('namespace')} is no namespace, or ${args.text('service-account')} no service account`)
  if (parsed.id.path === '') throw new UsageError(`${given} names a trust domain, not a workload`)
  if (trustDomain !== '' && parsed.id.trustDomain !== trustDomain)
    throw new UsageError(`the CA is for the trust domain ${trustDomain}, not for ${parsed.id.trustDomain}`)
  return spiffeIdText(parsed.id)
}

function keyKind(args: Arguments): (typeof KEYS)[number] {
  const text = args.text('key') ?? KEYS[0]
  const kind = KEYS.find((k) => k === text)
  if (kind === undefined) throw new UsageError(`--key: expected ${KEYS.join(' or ')}; found ${text}`)
  return kind
}

function onlyFor(args: Arguments, action: string, flags: readonly string[]): void {
  const wrong = flags.find((flag) => args.has(flag))
  if (wrong !== undefined) throw new UsageError(`--${wrong} belongs to heddle ca ${action}`)
}

function written(io: CommandIo, write: () => readonly string[]): number {
  try {
    for (const file of write()) io.stdout.write(`${file}\n`)
    return EXIT_OK
  } catch (error) {
    io.stderr.write(`heddle ca: ${(error as Error).message}\n`)
    return EXIT_START
  }
}
