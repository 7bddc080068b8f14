// The words of retryOn. Istio HTTPRetry.
import { STATUS_CODES } from 'node:http'
import { didYouMean } from '../../base/nearest.ts'
import { RETRY_KEYWORDS } from '../../state/retry-keywords.ts'

/** Istio asks Go for the text of a status; Go lacks one that Node knows. */
const NOT_IN_GO = new Set([509])

/** Whether a number is taken as a status code: only those that have a registered text. */
export function isRetriableCode(word: string): boolean {
  if (!/^[1-9]\d\d$/.test(word)) return false
  const code = Number(word)
  return STATUS_CODES[code] !== undefined && !NOT_IN_GO.has(code)
}

/** null when fine. Blanks are not trimmed, as in Istio's validator. */
export function retryOnProblem(retryOn: string): string | null {
  if (retryOn === '') return null
  for (const word of retryOn.split(',')) {
    if (RETRY_KEYWORDS.includes(word) || isRetriableCode(word)) continue
    if (word.trim() !== word && (RETRY_KEYWORDS.includes(word.trim()) || isRetriableCode(word.trim()))) {
      return `"${word}" is not a retry condition; write the list without blanks: "${retryOn.replace(/\s+/g, '')}"`
    }
    if (/^\d+$/.test(word)) return `"${word}" is not a retry condition: only status codes with a registered meaning can be listed`
    return `"${word}" is not a retry condition${didYouMean(word, RETRY_KEYWORDS) || `; known: ${RETRY_KEYWORDS.join(', ')}, and status codes`}`
  }
  return null
}
