// Requests as clients send them that mean well, and as those that look for a way around.
import type { Dice } from '../../chaos/dice.ts'
import type { HeaderPair } from '../../support/h1-reader.ts'
import { HOSTS, targetOf, VALUES } from './draw-texts.ts'
import { type FuzzRequest, several } from './subject.ts'

const METHODS = ['GET', 'GET', 'GET', 'GET', 'POST', 'HEAD', 'OPTIONS', 'PUT', 'get', 'FOO'] as const
const ADDRESSES = ['10.1.2.3', '192.168.0.1', '10.0.0.1, 10.1.2.3', '10.1.2.3, 192.168.0.1', '2001:db8::1', '127.0.0.9', 'unknown', '10.1.2.3:80', '[2001:db8::1]:80', '10.1.2.3,', '', ' ,10.1.2.3'] // biome-ignore format: a list

export function requestOf(dice: Dice, more: readonly HeaderPair[] = [], target = targetOf(dice)): FuzzRequest {
  const method = dice.one(METHODS)
  const headers: HeaderPair[] = [...several(dice, 0, 4, () => headerOf(dice)), ...more]
  const host = dice.chance(0.6)
    ? 'a.example'
    : dice.chance(0.95)
      ? dice.one(HOSTS)
      : dice.one(['', 'a b', 'a/b', 'a@b', '\xe4', 'a_b'])
  return { method, target, host, headers, from: dice.one(['127.0.0.1', '127.0.0.1', '127.0.0.2', '127.0.1.1']) }
}

function headerOf(dice: Dice): HeaderPair {
  const name = dice.weighted([
    [6, 'x-a'],
    [3, 'x-b'],
    [1, 'X-A'],
    [1, 'x-forwarded-for'],
    [1, 'content-type'],
    [0.5, 'cookie'],
    [1, 'user-agent'],
    [0.3, 'x-forwarded-proto'],
    [0.4, 'authorization'],
    [0.2, 'x_a'],
    [0.1, 'host'],
    [0.1, 'accept'],
  ])
  if (name === 'x-forwarded-for') return [name, dice.one(ADDRESSES)]
  if (name === 'x-forwarded-proto') return [name, dice.one(['http', 'https', 'HTTPS', 'ftp', ''])]
  return [name, dice.one(VALUES)]
}
