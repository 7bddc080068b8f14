// Address ranges as packet filters show them: without host bits, IPv6 in its short form.
import { isIP } from 'node:net'
import { canonicalIp } from '../base/ip-address.ts'
import type { Family } from './rule.ts'
import type { Cidr } from './settings.ts'

/** Null for what is no range. An address alone is a range of one. */
export function parseCidr(text: string): Cidr | null {
  const parts = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text)
  const family = familyOf(parts?.[1] ?? '')
  if (parts === null || family === null) return null
  const bits = family === 'ipv4' ? 32 : 128
  const length = parts[2] === undefined ? bits : Number(parts[2])
  if (length > bits) return null
  const free = BigInt(bits - length)
  const network = (toNumber(parts[1]!, family) >> free) << free
  const address = toText(network, family)
  const loopback = family === 'ipv4' ? address.startsWith('127.') && length >= 8 : address === '::1'
  return { family, text: `${address}/${length}`, loopback }
}

/** Null for what is no address, and for one with a zone, which rules cannot name. */
export function familyOf(address: string): Family | null {
  if (address.includes('%')) return null
  const version = isIP(address)
  return version === 4 ? 'ipv4' : version === 6 ? 'ipv6' : null
}

function toNumber(address: string, family: Family): bigint {
  if (family === 'ipv4') return address.split('.').reduce((n, byte) => (n << 8n) | BigInt(byte), 0n)
  // The last 32 bits may be written as IPv4.
  const plain = address.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_all, a: string, b: string, c: string, d: string) => {
    return `${(Number(a) * 256 + Number(b)).toString(16)}:${(Number(c) * 256 + Number(d)).toString(16)}`
  })
  const [head = '', tail] = plain.split('::')
  const front = head === '' ? [] : head.split(':')
  const back = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = tail === undefined ? [] : new Array<string>(8 - front.length - back.length).fill('0')
  return [...front, ...zeros, ...back].reduce((n, group) => (n << 16n) | BigInt(`0x${group}`), 0n)
}

function toText(n: bigint, family: Family): string {
  if (family === 'ipv4') return [24n, 16n, 8n, 0n].map((shift) => String((n >> shift) & 0xffn)).join('.')
  const groups = [7n, 6n, 5n, 4n, 3n, 2n, 1n, 0n].map((i) => ((n >> (i * 16n)) & 0xffffn).toString(16))
  return canonicalIp(groups.join(':')) ?? groups.join(':')
}
