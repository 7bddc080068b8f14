// Asks the application of this machine whether it is well, for the control plane (Istio ProxyConfig.readinessProbe).
import { execFile } from 'node:child_process'
import { askApplication } from '../admin/app-probes.ts'
import type { AgentConfig, ReadinessProbe } from '../state/bootstrap-config.ts'

/** Before the application the proxy in front of it: `waiting` is what it is not ready for. Returns what is wrong; empty: nothing. Never rejects. */
export async function askHealth(
  probe: ReadinessProbe,
  { probeAddress }: Pick<AgentConfig, 'probeAddress'>,
  waiting: readonly string[],
): Promise<string> {
  if (waiting.length > 0) return `the proxy is not ready: it waits for ${waiting.join('; ')}`
  const { ask, host, timeoutMs } = probe
  if (ask.kind === 'exec') return run(ask.command, timeoutMs)
  const headers = { 'user-agent': 'heddle/health-check' }
  const { status, problem } = await askApplication({ path: '', timeoutMs, ask }, host === '' ? probeAddress : host, headers)
  if (problem !== '') return problem
  return status >= 200 && status < 400 ? '' : `the application answered ${status}`
}

/** The command's own words stay here. */
function run([program = '', ...args]: readonly string[], timeout: number): Promise<string> {
  return new Promise((resolve) => {
    execFile(program, args, { timeout, killSignal: 'SIGKILL', windowsHide: true }, (error) => {
      if (error === null) resolve('')
      else if (error.killed === true) resolve(`the command ${program} took longer than ${timeout} ms`)
      else if (typeof error.code === 'number') resolve(`the command ${program} ended with ${error.code}`)
      else resolve(`the command ${program} could not be run: ${error.code ?? error.signal ?? error.message}`)
    })
  })
}
