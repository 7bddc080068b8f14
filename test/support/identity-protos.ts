// The messages of Istio's CA (istio/api security/v1alpha1/ca.proto) and of the SPIFFE Workload API (workloadapi.proto) for protobufjs,
// written from their definitions.
const field = (type: string, id: number, rule?: 'repeated'): object => ({ type, id, ...(rule === undefined ? {} : { rule }) })

export const ISTIO_CA = {
  nested: {
    google: {
      nested: {
        protobuf: {
          nested: {
            Struct: { fields: { fields: { keyType: 'string', type: 'Value', id: 1 } } },
            Value: {
              oneofs: { kind: { oneof: ['nullValue', 'numberValue', 'stringValue', 'boolValue', 'structValue', 'listValue'] } },
              fields: {
                nullValue: field('int32', 1),
                numberValue: field('double', 2),
                stringValue: field('string', 3),
                boolValue: field('bool', 4),
                structValue: field('Struct', 5),
                listValue: field('ListValue', 6),
              },
            },
            ListValue: { fields: { values: field('Value', 1, 'repeated') } },
          },
        },
      },
    },
    istio: {
      nested: {
        v1: {
          nested: {
            auth: {
              nested: {
                IstioCertificateRequest: {
                  fields: {
                    csr: field('string', 1),
                    validityDuration: field('int64', 3),
                    metadata: field('google.protobuf.Struct', 4),
                  },
                },
                IstioCertificateResponse: { fields: { certChain: field('string', 1, 'repeated') } },
                IstioCertificateService: {
                  methods: {
                    CreateCertificate: { requestType: 'IstioCertificateRequest', responseType: 'IstioCertificateResponse' },
                  },
                },
              },
            },
          },
        },
      },
    },
  },
}

/** This one has no package. */
export const WORKLOAD_API = {
  nested: {
    X509SVIDRequest: { fields: {} },
    X509SVIDResponse: {
      fields: {
        svids: field('X509SVID', 1, 'repeated'),
        crl: field('bytes', 2, 'repeated'),
        federatedBundles: { keyType: 'string', type: 'bytes', id: 3 },
      },
    },
    X509SVID: {
      fields: {
        spiffeId: field('string', 1),
        x509Svid: field('bytes', 2),
        x509SvidKey: field('bytes', 3),
        bundle: field('bytes', 4),
        hint: field('string', 5),
      },
    },
    SpiffeWorkloadAPI: {
      methods: { FetchX509SVID: { requestType: 'X509SVIDRequest', responseType: 'X509SVIDResponse', responseStream: true } },
    },
  },
}
