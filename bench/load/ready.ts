// Waiting until a server answers the way it should.
import { get } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Child } from './child.ts'
import { BODY_BYTES, HOST } from './scenario.ts'

/** Milliseconds a server may take to start. */
const START_LIMIT_MS = 15_000

/** Resolves when `path` is answered with 200 and the whole body; rejects with what was seen last and the child's output. */
export async function untilAnswers(child: Child, port: number, path: string): Promise<void> {
  const deadline = Date.now() + START_LIMIT_MS
  let seen = 'nothing'
  while (Date.now() < deadline) {
    if (child.hasExited()) throw new Error(`it ended at once: ${child.tail()}`)
    seen = await ask(port, path)
    if (seen === `200 with ${BODY_BYTES[path]} bytes`) return
    await sleep(50)
  }
  throw new Error(`not ready after ${START_LIMIT_MS / 1000} s; last answer to GET ${path}: ${seen}. ${child.tail()}`)
}

function ask(port: number, path: string): Promise<string> {
  return new Promise((resolve) => {
    const request = get({ host: '127.0.0.1', port, path, agent: false, headers: { host: HOST }, timeout: 2000 }, (response) => {
      let bytes = 0
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length
      })
      response.on('end', () => resolve(`${response.statusCode} with ${bytes} bytes`))
      response.on('error', (error) => resolve(error.message))
    })
    request.on('timeout', () => request.destroy(new Error('no answer')))
    request.on('error', (error) => resolve(error.message))
  })
}
