// What a DestinationRule or an annotation asks for without effect is told, with its place.
import t from 'tap'
import { loadText, statusOf } from './kit.ts'

const SERVICE =
  'apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: s}\n' +
  'spec: {hosts: [s.x], resolution: STATIC, ports: [{number: 80, name: http}], endpoints: [{address: 10.0.0.1}]}\n---\n'

const rule = (policy: string, annotations = '{}') =>
  `${SERVICE}apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata:\n  name: r\n  annotations: ${annotations}\n` +
  `spec:\n  host: s.x\n  trafficPolicy:\n    ${policy}\n`

/** In the lines of `rule`: the policy is in 14, the annotations in 10. */
t.test('policies without effect', async (t) => {
  const rows: [policy: string, reason: RegExp | null][] = [
    ['loadBalancer: {simple: RANDOM, warmup: {duration: 10s}}', /^line 14: .*loadBalancer\.warmup: has no effect with RANDOM/],
    ['loadBalancer: {consistentHash: {useSourceIp: true}, warmupDurationSecs: 10s}', /warmupDurationSecs: .* consistentHash/],
    ['loadBalancer: {warmup: {duration: 10s}}', null],
    ['loadBalancer: {simple: ROUND_ROBIN, warmup: {duration: 10s}}', null],
    [
      'outlierDetection: {consecutiveGatewayErrors: 5}',
      /^line 14: .*consecutiveGatewayErrors: has no effect: consecutive5xxErrors, which is 5, is reached first$/,
    ],
    ['outlierDetection: {consecutiveGatewayErrors: 4}', null],
    ['outlierDetection: {consecutiveGatewayErrors: 7, consecutive5xxErrors: 3}', /which is 3/],
    ['outlierDetection: {consecutiveGatewayErrors: 7, consecutive5xxErrors: 0}', null],
    ['outlierDetection: {consecutiveGatewayErrors: 7, outlierDetectionHttpErrorCodes: [429]}', null],
  ]
  for (const [policy, reason] of rows) {
    const status = statusOf(loadText(t, rule(policy)), 'r')
    t.equal(status.state, reason === null ? 'in-force' : 'partly', policy)
    if (reason !== null) t.match(status.reason, reason)
  }
})

t.test('annotations without effect, and those that nobody knows', async (t) => {
  const rows: [annotations: string, policy: string, reason: RegExp | null][] = [
    ['{heddle.io/load-balancer: PEAK_EWMA}', 'loadBalancer: {simple: RANDOM}', null],
    [
      '{heddle.io/load-balancer: PEAK_EWMA}',
      'loadBalancer: {consistentHash: {useSourceIp: true}}',
      /^line 10: metadata\.annotations.*has no effect on consistentHash/,
    ],
    ['{heddle.io/success-rate-ejection: "on"}', 'loadBalancer: {simple: RANDOM}', /^line 10: .*no outlierDetection/],
    [
      '{heddle.io/load-balancr: PEAK_EWMA}',
      'loadBalancer: {simple: RANDOM}',
      /means nothing on a DestinationRule; did you mean `heddle.io\/load-balancer`\?/,
    ],
    [
      '{heddle.io/unsafe-retries: allow}',
      'outlierDetection: {}',
      /means nothing on a DestinationRule; it is one of VirtualServices/,
    ],
    ['{example.com/other: x}', 'outlierDetection: {}', null],
  ]
  for (const [annotations, policy, reason] of rows) {
    const status = statusOf(loadText(t, rule(policy, annotations)), 'r')
    t.equal(status.state, reason === null ? 'in-force' : 'partly', annotations)
    if (reason !== null) t.match(status.reason, reason)
  }
})

t.test('a keepalive of HTTP/2 needs both', async (t) => {
  const { state, reason } = statusOf(loadText(t, rule('connectionPool: {http: {http2KeepAlive: {interval: 5s}}}')), 'r')
  t.equal(state, 'refused')
  t.match(reason, /^line 14:.*http2KeepAlive: .*`timeout` is missing$/)
})

t.test('a maxEjectionPercent that ejects nobody is noted, and changes no state', async (t) => {
  const rows: [percent: string, endpoints: number, note: RegExp | null][] = [
    [
      '',
      9,
      /^maxEjectionPercent 10 of the 9 endpoints of outbound\|80\|\|s\.x is less than one: nobody is ejected; one takes 12$/,
    ],
    ['', 10, null],
    ['maxEjectionPercent: 33', 3, /one takes 34/],
    ['maxEjectionPercent: 34', 3, null],
    ['', 1, null],
  ]
  for (const [percent, endpoints, note] of rows) {
    const many = Array.from({ length: endpoints }, (_, i) => `{address: 10.0.0.${i + 1}}`).join(', ')
    const result = loadText(t, rule(`outlierDetection: {${percent}}`).replace('{address: 10.0.0.1}', many))
    t.equal(statusOf(result, 'r').state, 'in-force')
    t.equal(result.notes.length, note === null ? 0 : 1, `${percent} of ${endpoints}`)
    if (note !== null) t.match(result.notes[0], { kind: 'DestinationRule', name: 'r', message: note, line: 6 })
  }
})
