// What a proxy says of the ejections of one cluster.
import type { HeddleProcess } from './proxy.ts'

/** `ip:port` of the endpoints that are ejected now, by `/clusters`. */
export async function ejectedOf(proxy: HeddleProcess, cluster: string): Promise<string[]> {
  const { body } = await proxy.admin('/clusters')
  return body
    .split('\n')
    .filter((l) => l.startsWith(cluster) && l.endsWith('::health_flags::/failed_outlier_check'))
    .map((l) => l.split('::')[1] as string)
}

/** `envoy_cluster_NAME` of it; 0 where it is not there. */
export async function clusterMetric(proxy: HeddleProcess, cluster: string, name: string): Promise<number> {
  return (await proxy.metrics()).value(`envoy_cluster_${name}`, { cluster_name: cluster }) ?? 0
}
