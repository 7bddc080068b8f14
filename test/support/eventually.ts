// Waiting without sleeping: poll until it is so, or say what was waited for.

/** What `probe` returned last, or the last thing it threw, is in the message of a failure. */
export async function eventually<T>(what: string, probe: () => T | Promise<T>, budgetMs = 10_000): Promise<T> {
  const until = performance.now() + budgetMs
  let pauseMs = 1
  let last: unknown
  for (;;) {
    try {
      const value = await probe()
      if (value) return value
      last = value
    } catch (error) {
      last = error
    }
    if (performance.now() > until) throw new Error(`waited ${budgetMs} ms for: ${what}; last: ${describe(last)}`)
    await pause(pauseMs)
    pauseMs = Math.min(pauseMs * 2, 25)
  }
}

/** The promise, or a failure that says what did not happen within the budget. */
export function within<T>(what: string, promise: Promise<T>, budgetMs = 10_000, state: () => string = () => ''): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      const more = state()
      reject(new Error(`waited ${budgetMs} ms for: ${what}${more === '' ? '' : `; ${more}`}`))
    }, budgetMs)
    promise.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}

/** For polling loops and for answers that are to come late on purpose; a test never waits with it for something to happen. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

function describe(value: unknown): string {
  if (value instanceof Error) return value.message
  try {
    return JSON.stringify(value) ?? String(value)
  } catch {
    return String(value)
  }
}
