// What the thread of config-thread.ts runs: the modules that read YAML, and a loader.
import { parentPort } from 'node:worker_threads'
import { loadBootstrap, parseBootstrap } from '../bootstrap/load.ts'
import { ResourceLoader } from '../resources/load.ts'
import type { FromConfigThread, ToConfigThread } from './config-messages.ts'

let loader: ResourceLoader | null = null

function answer(question: ToConfigThread): FromConfigThread {
  if (question.type === 'bootstrap') {
    const { file, env, flags, text } = question
    const result = text === null ? loadBootstrap(file, env, flags) : parseBootstrap(text, file ?? '', env, flags)
    return { type: 'bootstrap', result }
  }
  if (loader === null) {
    loader = new ResourceLoader(question.bootstrap)
    if (question.memory !== null) loader.recall(question.memory)
  }
  return { type: 'resources', result: loader.load(), memory: loader.memory() }
}

parentPort?.on('message', (question: ToConfigThread) => parentPort?.postMessage(answer(question)))
