import t from 'tap'
import { paintFor, table } from '../../../lib/cli/terminal.ts'

t.test('colour', async (t) => {
  const write = () => true
  const cases: [title: string, isTTY: boolean, env: Record<string, string>, expected: string][] = [
    ['a terminal', true, {}, '\u001b[31mx\u001b[39m'],
    ['a pipe', false, {}, 'x'],
    ['NO_COLOR', true, { NO_COLOR: '1' }, 'x'],
    ['NO_COLOR that is empty', true, { NO_COLOR: '' }, '\u001b[31mx\u001b[39m'],
    ['a dumb terminal', true, { TERM: 'dumb' }, 'x'],
  ]
  for (const [title, isTTY, env, expected] of cases) t.equal(paintFor({ write, isTTY }, env)('red', 'x'), expected, title)
})

t.test('columns are as wide as their widest cell', async (t) => {
  const rows = [
    ['A', 'LONG', 'C'],
    ['aaa', 'b', ''],
    ['a', 'b', 'c d'],
  ]
  t.equal(
    table(rows, (_row, _column, cell) => cell),
    'A    LONG  C\naaa  b\na    b     c d',
  )
})
