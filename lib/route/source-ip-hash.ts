// Hot lane: runs for each connection of a TCP listener whose balancer hashes the client's address (Envoy SourceIpHashMethod).
import { ipOf } from '../base/ip-address.ts'
import { XxHash64 } from '../base/xx-hash64.ts'
import type { PickContext } from '../cluster/lb/picker.ts'

export class SourceIpHash {
  private readonly hash: XxHash64

  constructor() {
    this.hash = new XxHash64()
  }

  /** `peerAddress`: `ip:port`; the port plays no part. */
  fill(pick: PickContext, peerAddress: string): void {
    const ip = ipOf(peerAddress)
    this.hash.hash(ip)
    pick.hashed = ip !== ''
    pick.hashHigh = this.hash.high
    pick.hashLow = this.hash.low
  }
}
