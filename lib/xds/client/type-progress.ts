// How it goes with one type of resource: counts and the last answers, for status and metrics.
import type { TypeStatus } from './ads-status.ts'

export class TypeProgress {
  version: string
  nonce: string
  answer: TypeStatus['answer']
  source: TypeStatus['source']
  lastResponseMs: number
  lastNack: TypeStatus['lastNack']
  responses: number
  bytes: number
  acks: number
  nacks: number
  /** On this stream, since the last ACK. */
  nacksInARow: number
  /** A NACK that waits; null: none does. */
  cancelAnswer: (() => void) | null

  constructor() {
    this.version = ''
    this.nonce = ''
    this.answer = 'waiting'
    this.source = 'none'
    this.lastResponseMs = 0
    this.lastNack = null
    this.responses = 0
    this.bytes = 0
    this.acks = 0
    this.nacks = 0
    this.nacksInARow = 0
    this.cancelAnswer = null
  }

  onResponse(version: string, nonce: string, bytes: number, nowMs: number): void {
    this.dropAnswer()
    this.version = version
    this.nonce = nonce
    this.source = 'stream'
    this.lastResponseMs = nowMs
    this.responses++
    this.bytes += bytes
  }

  onAccepted(): void {
    this.answer = 'ACK'
    this.acks++
    this.nacksInARow = 0
  }

  onRefused(text: string, nowMs: number): void {
    this.answer = 'NACK'
    this.nacks++
    this.nacksInARow++
    this.lastNack = { text, atMs: nowMs }
  }

  dropAnswer(): void {
    this.cancelAnswer?.()
    this.cancelAnswer = null
  }
}
