// Names that are asked for on demand: who waits for which answer, and what is subscribed to.
import t from 'tap'
import { NamesOnDemand } from '../../../../lib/xds/workload/names-on-demand.ts'

function start() {
  const subscribed: string[][] = []
  const names = new NamesOnDemand((all) => void subscribed.push([...all]))
  return { names, subscribed }
}

const LONG = 60_000

t.test('an answer by alias', async (t) => {
  const { names, subscribed } = start()
  const both = [names.ask('/10.0.0.1', LONG), names.ask('/10.0.0.1', LONG)]
  t.same(subscribed, [['/10.0.0.1']], 'asked for once')
  names.answered([{ name: 'other', aliases: ['/10.0.0.2'] }], [])
  names.answered([{ name: 'uid', aliases: ['/10.0.0.1'] }], [])
  t.same(await Promise.all(both), [true, true])
  t.equal(await names.ask('/10.0.0.1', LONG), true, 'and held from then on')
  t.equal(subscribed.length, 1)
  names.answered([], ['uid'])
  t.same(subscribed.at(-1), [], 'its end under its own name ends the subscription')
  const again = names.ask('/10.0.0.1', LONG)
  t.same(subscribed.at(-1), ['/10.0.0.1'], 'and it is asked for anew')
  names.answered([], ['/10.0.0.1'])
  t.equal(await again, true, 'nobody has it')
  t.same(subscribed.at(-1), [])
})

t.test('no answer', async (t) => {
  const alive = setInterval(() => {}, 1000)
  t.teardown(() => clearInterval(alive))
  const { names, subscribed } = start()
  t.equal(await names.ask('ns/host', 1), false)
  t.same(subscribed, [['ns/host'], []], 'it is given up')
})
