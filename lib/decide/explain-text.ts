// An explanation for people at a terminal. Plain text; colour, where wanted, is the caller's.

import { originText } from '../state/origin.ts'
import { durationText } from './explain-words.ts'
import type { Explanation, ObjectRef } from './explanation.ts'

export function explainText(e: Explanation): string {
  const sections = [summary(e), stepList(e), attemptList(e), termList(e), objectList(e)]
  return `${sections.filter((s) => s !== '').join('\n\n')}\n`
}

function summary(e: Explanation): string {
  const rows: [string, string][] = [['request', `${e.request.method} ${e.request.authority}${e.request.path}`]]
  if (e.id !== '') rows.push(['id', e.id])
  rows.push(['verdict', e.verdict])
  if (e.virtualHost !== null) rows.push(['virtual host', e.virtualHost])
  if (e.route !== null)
    rows.push(['route', e.route.route === '' ? objectText(e.route) : `${e.route.route}, ${objectText(e.route)}`])
  if (e.cluster !== null) rows.push(['cluster', e.cluster])
  if (e.endpoint !== null) rows.push(['endpoint', e.endpoint])
  if (e.sends !== null && (e.sends.path !== e.request.path || e.sends.authority !== e.request.authority)) {
    rows.push(['sent as', `${e.sends.authority}${e.sends.path}`])
  }
  if (e.answer !== null) rows.push(['answer', `${e.answer.status} ${e.answer.flags} ${e.answer.details}`])
  return aligned(rows, '')
}

function stepList(e: Explanation): string {
  const lines = e.steps.map((s) => `  ${s.text}${s.object === null || s.object.file === '' ? '' : `  [${position(s.object)}]`}`)
  return ['why', ...lines].join('\n')
}

function attemptList(e: Explanation): string {
  if (e.attempts.length === 0) return ''
  const rows = e.attempts.map((a): [string, string] => [
    `${a.number}`,
    `${a.endpoint ?? '-'}: ${a.outcome}${a.retry === '' ? '' : `; ${a.retry}`}`,
  ])
  return `attempts\n${aligned(rows, '  ')}`
}

function termList(e: Explanation): string {
  const rows = e.timers.map((t): [string, string] => [
    t.name,
    `${t.ms === 0 ? 'off' : durationText(t.ms)}, ${objectText(t.setBy)}`,
  ])
  for (const { name, text, setBy } of e.policy) rows.push([name, `${text}, ${objectText(setBy)}`])
  if (e.retry !== null) {
    const { attempts, on, unsafe, setBy } = e.retry
    rows.push(['retries', `${attempts === 0 ? 'off' : `${attempts} on ${on.join(',')}`}, ${objectText(setBy)}`])
    rows.push(['unsafe retries', unsafe === 'allowed' ? 'allowed' : 'held back'])
  }
  return rows.length === 0 ? '' : `in force\n${aligned(rows, '  ')}`
}

function objectList(e: Explanation): string {
  const rows = e.objects.map((o): [string, string] => [o.role, objectText(o)])
  return rows.length === 0 ? '' : `objects\n${aligned(rows, '  ')}`
}

function aligned(rows: readonly (readonly [string, string])[], indent: string): string {
  const width = Math.max(...rows.map(([label]) => label.length))
  return rows.map(([label, value]) => `${indent}${label.padEnd(width)}  ${value}`).join('\n')
}

function objectText(o: ObjectRef): string {
  const { kind, namespace, name, file, line, column } = o
  return originText({ kind, namespace, name, file, line, column })
}

function position(o: ObjectRef): string {
  return `${o.file}:${o.line}:${o.column}`
}
