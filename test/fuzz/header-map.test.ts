// Edits of a HeaderMap against a list of pairs, which is all that it has to look like.
import fc from 'fast-check'
import t from 'tap'
import { knownId } from '../../lib/http/known-headers.ts'
import { fieldsOf, mapOf } from '../unit/http/kit.ts'
import { holds } from './budget.ts'

const NAMES = [
  'Host',
  'host',
  'X-A',
  'x-a',
  'x-b',
  'Content-Length',
  'x-envoy-retry-on',
  'X-Envoy-Max-Retries',
  'TE',
  'te',
  'x-forwarded-for',
]
const name = fc.constantFrom(...NAMES)
const value = fc.constantFrom('', '1', 'a b', '\xe9')
/** Blanks that stand before and behind a value on the wire. */
const blank = fc.constantFrom('', ' ', '  ', '\t')
const parsed = fc.array(fc.tuple(name, blank, value, blank), { maxLength: 8 })
const edits = fc.array(
  fc.oneof(
    fc.tuple(fc.constant('set'), name, value),
    fc.tuple(fc.constant('add'), name, value),
    fc.tuple(
      fc.constant('append'),
      name.map((n) => n.toLowerCase()),
      value,
    ),
    fc.tuple(fc.constant('remove'), name, fc.constant('')),
    fc.tuple(fc.constant('removeKnown'), name, fc.constant('')),
    fc.tuple(fc.constant('removeAt'), name, fc.constant('')),
    fc.tuple(fc.constant('clear'), name, fc.constant('')),
  ),
  { maxLength: 12 },
)

interface Field {
  readonly name: string
  readonly value: string
  readonly parsed: boolean
}

t.test('edits', async (t) => {
  holds(
    t,
    'a map is the list that its edits make',
    fc.property(parsed, edits, (lines, todo) => {
      const map = mapOf(lines.map(([n, before, v, behind]) => `${n}:${before}${v}${behind}\r\n`).join(''))
      let model: Field[] = lines.map(([n, , v]) => ({ name: n, value: v, parsed: true }))
      const is = (n: string) => (f: Field) => f.name.toLowerCase() === n.toLowerCase()
      for (const [op, n, v] of todo) {
        const lower = n.toLowerCase()
        if (op === 'set') {
          map.set(n, v)
          model = [...model.filter((f) => !is(n)(f)), { name: n, value: v, parsed: false }]
        } else if (op === 'add' || op === 'append') {
          map[op](n, v)
          model.push({ name: n, value: v, parsed: false })
        } else if (op === 'remove') {
          map.remove(lower)
          model = model.filter((f) => !is(n)(f))
        } else if (op === 'removeKnown') {
          if (knownId(lower) === 0) continue
          map.removeKnown(knownId(lower))
          model = model.filter((f) => !f.parsed || !is(n)(f))
        } else if (op === 'removeAt') {
          const i = map.indexOf(lower, 0)
          const k = model.findIndex(is(n))
          if (i < 0 !== k < 0) return false
          if (i < 0) continue
          map.removeAt(i)
          model.splice(k, 1)
        } else {
          map.clear()
          model = []
        }
        for (const known of NAMES) {
          const l = known.toLowerCase()
          const first = model.find(is(l))?.value ?? null
          if (map.get(l) !== first) return false
          if (knownId(l) !== 0 && map.known(knownId(l), l) !== first) return false
          let count = 0
          for (let i = map.indexOf(l, 0); i >= 0; i = map.indexOf(l, i + 1)) count++
          if (count !== model.filter(is(l)).length) return false
        }
      }
      const expected = model.map((f) => `${f.name}: ${f.value}`)
      return (
        map.serialise() === expected.map((l) => `${l}\r\n`).join('') && JSON.stringify(fieldsOf(map)) === JSON.stringify(expected)
      )
    }),
  )
})
