// Gateway of Istio: its servers. Istio ValidateGateway.
import { didYouMean } from '../../base/nearest.ts'
import { opensslCipher } from '../../transport/cipher-names.ts'
import type { Path, Report } from '../finding.ts'
import type { GatewayServerSpec, GatewaySpec, ServerTlsSpec } from '../schema/gateway.ts'
import { checkPort, hostProblem, isAddress, isDnsLabel } from './names.ts'

const PROTOCOLS = ['HTTP', 'HTTPS', 'HTTP2', 'GRPC', 'GRPC-WEB', 'HTTP_PROXY', 'TLS', 'TCP', 'MONGO', 'MYSQL', 'REDIS', 'UDP']
const ENCRYPTED = new Set(['HTTPS', 'TLS'])
const PLAINTEXT_HTTP = new Set(['HTTP', 'HTTP2', 'GRPC', 'GRPC-WEB', 'HTTP_PROXY'])
const TERMINATING = new Set(['SIMPLE', 'MUTUAL', 'OPTIONAL_MUTUAL'])

export function validateGateway(spec: GatewaySpec, report: Report): void {
  const servers = spec.servers ?? []
  if (servers.length === 0) report([], 'a Gateway needs at least one of `servers`')
  const names = new Set<string>()
  const portNames = new Set<string>()
  for (const [i, server] of servers.entries()) {
    checkServer(server, ['servers', i], report)
    once(names, server.name ?? '', ['servers', i, 'name'], report)
    once(portNames, server.port?.name ?? '', ['servers', i, 'port', 'name'], report)
  }
}

function once(seen: Set<string>, name: string, path: Path, report: Report): void {
  if (name !== '' && seen.has(name)) report(path, `the name \`${name}\` is used twice`)
  seen.add(name)
}

function checkServer(server: GatewayServerSpec, at: Path, report: Report): void {
  const { port, bind = '', hosts = [], tls } = server
  if (bind !== '' && !isAddress(bind)) report([...at, 'bind'], `expected an IP address, found \`${bind}\``)
  if (hosts.length === 0) report(at, 'a server needs at least one of `hosts`')
  for (const [k, host] of hosts.entries()) checkHost(host, [...at, 'hosts', k], report)
  if (port === undefined) {
    report(at, 'a server needs a `port`')
    return
  }
  checkPort(port.number, port.number === undefined ? [...at, 'port'] : [...at, 'port', 'number'], report)
  if ((port.name ?? '') === '') report([...at, 'port'], 'the port needs a `name`')
  const protocol = (port.protocol ?? '').toUpperCase()
  if (!PROTOCOLS.includes(protocol)) {
    const found = port.protocol === undefined ? 'none' : `\`${port.protocol}\``
    const path = port.protocol === undefined ? [...at, 'port'] : [...at, 'port', 'protocol']
    const guess = didYouMean(protocol, PROTOCOLS)
    report(path, `expected one of ${PROTOCOLS.join(', ')}, found ${found}${guess}`)
    return
  }
  if (ENCRYPTED.has(protocol) && tls === undefined) report(at, `a server for ${protocol} needs \`tls\``)
  if (tls === undefined) return
  if (ENCRYPTED.has(protocol)) checkTls(tls, [...at, 'tls'], report)
  else if (!PLAINTEXT_HTTP.has(protocol))
    report([...at, 'tls'], `a server for ${protocol} has no \`tls\`; expected TLS or HTTPS as protocol`, true)
  else if (Object.keys(tls).some((field) => field !== 'httpsRedirect'))
    report([...at, 'tls'], `a server for plaintext HTTP can only have \`httpsRedirect\` here; expected HTTPS as protocol`, true)
}

/** `*`, `*.example.com`, `shop.example.com`, each with or without `namespace/` in front. */
function checkHost(host: string, path: Path, report: Report): void {
  const parts = host.split('/')
  const [namespace, name] = parts.length === 1 ? ['*', host] : [parts[0] ?? '', parts[1] ?? '']
  if (parts.length > 2 || (namespace !== '*' && namespace !== '.' && !isDnsLabel(namespace))) {
    report(path, `expected a host, or \`namespace/host\` with \`.\` for the own namespace and \`*\` for any, found \`${host}\``)
    return
  }
  const problem = isAddress(name) ? null : hostProblem(name, true)
  if (problem !== null) report(path, problem)
}

function checkTls(tls: ServerTlsSpec, at: Path, report: Report): void {
  if (tls.httpsRedirect === true) report([...at, 'httpsRedirect'], 'redirects are for plaintext HTTP; this server has TLS')
  checkCiphers(tls.cipherSuites, [...at, 'cipherSuites'], report)
  for (const [i, key] of (tls.verifyCertificateSpki ?? []).entries())
    if (!/^[A-Za-z0-9+/]{43}=$/.test(key))
      report(
        [...at, 'verifyCertificateSpki', i],
        `expected the SHA-256 of a public key in base64 (44 characters), found \`${key}\``,
      )
  for (const [i, hash] of (tls.verifyCertificateHash ?? []).entries())
    if (!/^(?:[0-9a-f]{2}:?){31}[0-9a-f]{2}$/i.test(hash))
      report(
        [...at, 'verifyCertificateHash', i],
        `expected the SHA-256 of a certificate as 64 hexadecimal digits, found \`${hash}\``,
      )
  checkVersions(tls, at, report)
  const mode = tls.mode ?? 'PASSTHROUGH'
  if (mode === 'ISTIO_MUTUAL') {
    const field = (['serverCertificate', 'privateKey', 'caCertificates', 'credentialName'] as const).find(
      (f) => (tls[f] ?? '') !== '',
    )
    if (field !== undefined)
      report([...at, field], `with ISTIO_MUTUAL the certificate is the workload's own: leave \`${field}\` out`, true)
  }
  if (TERMINATING.has(mode)) checkCertificates(tls, mode, at, report)
}

function checkCertificates(tls: ServerTlsSpec, mode: string, at: Path, report: Report): void {
  const files = (tls.serverCertificate ?? '') !== '' || (tls.privateKey ?? '') !== ''
  const sources = [
    (tls.credentialName ?? '') !== '' ? 'credentialName' : '',
    (tls.credentialNames?.length ?? 0) > 0 ? 'credentialNames' : '',
    (tls.tlsCertificates?.length ?? 0) > 0 ? 'tlsCertificates' : '',
    files ? 'serverCertificate' : '',
  ].filter((s) => s !== '')
  if (sources.length > 1) report([...at, sources[1]!], `only one of ${sources.join(' and ')} can name the certificate`, true)
  if (sources.length === 0)
    report(at, `mode ${mode} needs a certificate: \`credentialName\`, or \`serverCertificate\` and \`privateKey\``)
  for (const field of ['credentialNames', 'tlsCertificates'] as const)
    if ((tls[field]?.length ?? 0) > 2) report([...at, field], 'at most two certificates can be given, an RSA and an ECDSA one')
  if (sources.length !== 1 || sources[0] !== 'serverCertificate') return
  for (const field of ['serverCertificate', 'privateKey'] as const)
    if ((tls[field] ?? '') === '') report(at, `mode ${mode} needs \`${field}\` too`)
  if (mode !== 'SIMPLE' && (tls.caCertificates ?? '') === '' && (tls.caCertCredentialName ?? '') === '')
    report(at, `mode ${mode} needs \`caCertificates\`: the roots of clients`)
}

function checkCiphers(suites: readonly string[] | undefined, path: Path, report: Report): void {
  const seen = new Set<string>()
  for (const [i, suite] of (suites ?? []).entries()) {
    if (opensslCipher(suite) === null) report([...path, i], `\`${suite}\` is no cipher suite of TLS 1.2 that is supported`)
    if (seen.has(suite)) report([...path, i], `\`${suite}\` is listed twice`)
    seen.add(suite)
  }
}

function checkVersions(
  { minProtocolVersion: min = 'TLS_AUTO', maxProtocolVersion: max = 'TLS_AUTO' }: ServerTlsSpec,
  at: Path,
  report: Report,
): void {
  if (min !== 'TLS_AUTO' && max !== 'TLS_AUTO' && min > max)
    report([...at, 'maxProtocolVersion'], `expected ${min} or newer, since minProtocolVersion is ${min}; found ${max}`)
}
