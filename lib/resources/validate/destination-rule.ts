// DestinationRule. Istio DestinationRule.
import type { Path, Report } from '../finding.ts'
import type {
  ClientTlsSpec,
  ConnectionPoolSpec,
  DestinationRuleSpec,
  LoadBalancerSpec,
  OutlierDetectionSpec,
  PolicyBlocksSpec,
  TrafficPolicySpec,
} from '../schema/destination-rule.ts'
import { checkConsistentHash } from './consistent-hash.ts'
import { checkLocality, checkWarmup } from './locality-lb.ts'
import { checkExportTo, checkPort, hostProblem, isDnsLabel } from './names.ts'
import { checkDuration, checkNotNegative, checkRange } from './values.ts'

export function validateDestinationRule(spec: DestinationRuleSpec, report: Report): void {
  const problem = hostProblem(spec.host, true)
  if (problem !== null) report(['host'], problem)
  checkTrafficPolicy(spec.trafficPolicy, ['trafficPolicy'], report)
  const names = new Set<string>()
  for (const [i, subset] of (spec.subsets ?? []).entries()) {
    const at: Path = ['subsets', i]
    const name = subset.name ?? ''
    if (name === '') report(at, 'the subset needs a `name`')
    else if (!isDnsLabel(name)) report([...at, 'name'], `expected a name of letters, digits and \`-\`, found \`${name}\``)
    else if (names.has(name)) report([...at, 'name'], `the subset \`${name}\` is listed twice`)
    names.add(name)
    checkTrafficPolicy(subset.trafficPolicy, [...at, 'trafficPolicy'], report)
  }
  checkExportTo(spec.exportTo, ['exportTo'], false, report)
  const exported = spec.exportTo ?? []
  if (spec.workloadSelector !== undefined && exported.length > 0 && !(exported.length === 1 && exported[0] === '.')) {
    report(['exportTo'], 'a rule with a workloadSelector is for its own namespace only: write `exportTo: ["."]` or leave it out')
  }
}

function checkTrafficPolicy(policy: TrafficPolicySpec | undefined, path: Path, report: Report): void {
  if (policy === undefined) return
  if (Object.values(policy).every((block) => block === undefined))
    report(path, 'the traffic policy is empty: expected at least one field')
  checkBlocks(policy, path, report)
  for (const [i, port] of (policy.portLevelSettings ?? []).entries()) {
    const at = [...path, 'portLevelSettings', i]
    if (port.port?.number === undefined) report(at, 'the settings need a `port.number`')
    else checkPort(port.port.number, [...at, 'port', 'number'], report)
    checkBlocks(port, at, report)
  }
  checkRetryBudget(policy.retryBudget, [...path, 'retryBudget'], report)
  const { tunnel } = policy
  if (tunnel === undefined) return
  if (!['', 'CONNECT', 'POST'].includes(tunnel.protocol ?? ''))
    report([...path, 'tunnel', 'protocol'], `expected CONNECT or POST, found "${tunnel.protocol}"`)
  if ((tunnel.targetHost ?? '') === '') report([...path, 'tunnel'], 'the tunnel needs a `targetHost`')
  checkPort(tunnel.targetPort, [...path, 'tunnel', 'targetPort'], report)
  if (policy.proxyProtocol !== undefined)
    report([...path, 'proxyProtocol'], '`tunnel` and `proxyProtocol` cannot both be set', true)
}

function checkRetryBudget(budget: TrafficPolicySpec['retryBudget'], path: Path, report: Report): void {
  checkRange(budget?.percent, 0, 100, [...path, 'percent'], report)
  checkNotNegative(budget?.minRetryConcurrency, [...path, 'minRetryConcurrency'], report)
  // 0s: the requests of this moment.
  checkDuration(budget?.budgetInterval, [...path, 'budgetInterval'], report, 0)
}

function checkBlocks(blocks: PolicyBlocksSpec, path: Path, report: Report): void {
  if (blocks.connectionPool !== undefined) checkPool(blocks.connectionPool, [...path, 'connectionPool'], report)
  if (blocks.loadBalancer !== undefined) checkLoadBalancer(blocks.loadBalancer, [...path, 'loadBalancer'], report)
  if (blocks.outlierDetection !== undefined) checkOutlier(blocks.outlierDetection, [...path, 'outlierDetection'], report)
  if (blocks.tls !== undefined) checkTls(blocks.tls, [...path, 'tls'], report)
}

function checkPool(pool: ConnectionPoolSpec, path: Path, report: Report): void {
  const { http, tcp } = pool
  if (http === undefined && tcp === undefined) report(path, 'the connection pool is empty: expected `http` or `tcp`')
  const httpPath = [...path, 'http']
  for (const field of [
    'http1MaxPendingRequests',
    'http2MaxRequests',
    'maxRequestsPerConnection',
    'maxRetries',
    'maxConcurrentStreams',
  ] as const) {
    checkNotNegative(http?.[field], [...httpPath, field], report)
  }
  checkDuration(http?.idleTimeout, [...httpPath, 'idleTimeout'], report)
  if (http?.h2UpgradePolicy === 'UPGRADE' && http.useClientProtocol === true) {
    report([...httpPath, 'useClientProtocol'], 'h2UpgradePolicy UPGRADE and useClientProtocol cannot both be set', true)
  }
  const keepalive = http?.http2KeepAlive
  for (const field of ['interval', 'timeout'] as const) {
    checkDuration(keepalive?.[field], [...httpPath, 'http2KeepAlive', field], report)
    if (keepalive !== undefined && keepalive[field] === undefined)
      report([...httpPath, 'http2KeepAlive'], `the keepalive needs an \`interval\` and a \`timeout\`; \`${field}\` is missing`)
  }
  const tcpPath = [...path, 'tcp']
  checkNotNegative(tcp?.maxConnections, [...tcpPath, 'maxConnections'], report)
  checkDuration(tcp?.connectTimeout, [...tcpPath, 'connectTimeout'], report)
  checkDuration(tcp?.maxConnectionDuration, [...tcpPath, 'maxConnectionDuration'], report)
  // 0s switches it off, here only.
  checkDuration(tcp?.idleTimeout, [...tcpPath, 'idleTimeout'], report, 0)
}

function checkLoadBalancer(lb: LoadBalancerSpec, path: Path, report: Report): void {
  if (lb.consistentHash !== undefined) {
    if (lb.simple !== undefined) report([...path, 'consistentHash'], '`simple` and `consistentHash` cannot both be set', true)
    checkConsistentHash(lb.consistentHash, [...path, 'consistentHash'], report)
  }
  checkLocality(lb, path, report)
  checkWarmup(lb, path, report)
}

function checkOutlier(outlier: OutlierDetectionSpec, path: Path, report: Report): void {
  const counts = [
    'consecutive5xxErrors',
    'consecutiveGatewayErrors',
    'consecutiveLocalOriginFailures',
    'consecutiveErrors',
  ] as const
  for (const field of counts) checkNotNegative(outlier[field], [...path, field], report)
  checkDuration(outlier.interval, [...path, 'interval'], report)
  checkDuration(outlier.baseEjectionTime, [...path, 'baseEjectionTime'], report)
  checkRange(outlier.maxEjectionPercent, 0, 100, [...path, 'maxEjectionPercent'], report)
  checkRange(outlier.minHealthPercent, 0, 100, [...path, 'minHealthPercent'], report)
  if ((outlier.consecutiveLocalOriginFailures ?? 0) > 0 && outlier.splitExternalLocalOriginErrors !== true) {
    report([...path, 'consecutiveLocalOriginFailures'], 'needs `splitExternalLocalOriginErrors: true`', true)
  }
  for (const [i, code] of (outlier.outlierDetectionHttpErrorCodes ?? []).entries())
    checkRange(code, 100, 599, [...path, 'outlierDetectionHttpErrorCodes', i], report)
}

function checkTls(tls: ClientTlsSpec, path: Path, report: Report): void {
  const own = ['clientCertificate', 'privateKey', 'caCertificates', 'subjectAltNames', 'sni'] as const
  if (tls.mode === 'MUTUAL' && (tls.credentialName ?? '') === '') {
    if ((tls.clientCertificate ?? '') === '') report(path, 'mode MUTUAL needs a `clientCertificate`')
    if ((tls.privateKey ?? '') === '') report(path, 'mode MUTUAL needs a `privateKey`')
  }
  if (tls.mode === 'ISTIO_MUTUAL') {
    for (const field of own.slice(0, 3))
      if ((tls[field] ?? '') !== '')
        report([...path, field], `mode ISTIO_MUTUAL brings its own certificates; remove \`${field}\``, true)
  }
  if ((tls.mode === 'SIMPLE' || tls.mode === 'MUTUAL') && (tls.credentialName ?? '') !== '') {
    for (const field of ['clientCertificate', 'privateKey', 'caCertificates', 'caCrl'] as const)
      if ((tls[field] ?? '') !== '')
        report([...path, field], `\`credentialName\` brings certificates of its own; remove \`${field}\``, true)
  }
  if (tls.insecureSkipVerify === true && tls.mode === 'SIMPLE' && (tls.credentialName ?? '') !== '')
    report(
      [...path, 'insecureSkipVerify'],
      'skips the check for which credentialName brings the authority; remove one of the two',
      true,
    )
  if (tls.insecureSkipVerify === true && ((tls.caCertificates ?? '') !== '' || (tls.subjectAltNames?.length ?? 0) > 0)) {
    report(
      [...path, 'insecureSkipVerify'],
      'skips the check that caCertificates and subjectAltNames ask for; remove one of the two',
      true,
    )
  }
}
