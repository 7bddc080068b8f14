import t from 'tap'
import { Logger, type LoggerOptions } from '../../../lib/telemetry/logger.ts'

const NOW = Date.UTC(2026, 10, 21, 10, 0, 0)

function logger(level: LoggerOptions['level'], fields?: LoggerOptions['fields']): { log: Logger; lines: string[] } {
  const lines: string[] = []
  const options = { level, write: (line: string) => void lines.push(line), now: () => NOW }
  return { log: new Logger(fields === undefined ? options : { ...options, fields }), lines }
}

t.test('a line', async (t) => {
  const { log, lines } = logger('debug', { worker: 1 })
  log.debug('one')
  log.info('message', { key: 'value', n: 2 })
  log.warning('w')
  log.error('e')
  t.strictSame(lines, [
    '2026-11-21T10:00:00.000Z debug one worker=1\n',
    '2026-11-21T10:00:00.000Z info  message key=value n=2 worker=1\n',
    '2026-11-21T10:00:00.000Z warning w worker=1\n',
    '2026-11-21T10:00:00.000Z error e worker=1\n',
  ])
})

t.test('levels', async (t) => {
  const { log, lines } = logger('warning')
  log.debug('d')
  log.info('i')
  t.strictSame(lines, [])
  t.notOk(log.enabled('info'))
  t.ok(log.enabled('warning'))
  log.level = 'debug'
  t.ok(log.enabled('debug'))
  t.equal(log.level, 'debug')
  log.debug('d')
  t.equal(lines.length, 1)
})

t.test('no value can forge a field or a line', async (t) => {
  const circular: Record<string, unknown> = {}
  circular['self'] = circular
  const rows: [value: unknown, expected: string][] = [
    ['a b', '"a b"'],
    ['', '""'],
    ['a"b', '"a\\"b"'],
    ['x level=error', '"x level=error"'],
    ['a=b', '"a=b"'],
    ['a\nb', '"a\\nb"'],
    ['\u001b[31m', '"\\u001b[31m"'],
    ['\u009b31m', '"\\u009b31m"'],
    ['\u2028', '"\\u2028"'],
    [{ a: 1 }, '"{\\"a\\":1}"'],
    [null, 'null'],
    [undefined, 'undefined'],
    [circular, '?'],
    [12n, '12'],
  ]
  for (const [value, expected] of rows) {
    const { log, lines } = logger('info')
    log.info('m', { v: value })
    t.equal(lines[0], `2026-11-21T10:00:00.000Z info  m v=${expected}\n`)
  }
  const { log, lines } = logger('info')
  log.info('two\nlines\r\u0000')
  t.equal(lines[0], '2026-11-21T10:00:00.000Z info  two\\nlines\\u000d\\u0000\n')
})

t.test('an error shows its stack in one line', async (t) => {
  const { log, lines } = logger('info')
  log.error('boom', { error: new TypeError('bad') })
  t.match(lines[0], /error="TypeError: bad\\n {4}at /)
  t.equal((lines[0] as string).indexOf('\n'), (lines[0] as string).length - 1)
})

t.test('it never throws', async (t) => {
  const failing = (): void => {
    throw new Error('no stderr')
  }
  const log = new Logger({ level: 'info', write: failing })
  log.error('lost')
  const hostile = {
    get field(): string {
      throw new Error('getter')
    },
  }
  log.error('lost', hostile)
  t.pass('both came back')
})

t.test('every lets a key through once in its interval', async (t) => {
  const { log } = logger('info')
  const rows: [key: string, nowMs: number, expected: boolean][] = [
    ['a', 0, true],
    ['a', 999, false],
    ['b', 999, true],
    ['a', 1000, true],
    ['a', 1999, false],
    ['a', 2000, true],
  ]
  for (const [key, nowMs, expected] of rows) t.equal(log.every(key, 1000, nowMs), expected, `${key} at ${nowMs}`)
  for (let i = 0; i < 5000; i++) log.every(`k${i}`, 1000, 3000)
  t.ok(log.every('b', 1e9, 3000), 'the oldest keys are forgotten')
  t.notOk(log.every('k4999', 1000, 3000))
})
