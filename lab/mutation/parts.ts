/** Sources that are mutated, and the tests that should notice. */
export interface MutationPart {
  readonly name: string;
  readonly sources: readonly string[];
  readonly tests: readonly string[];
}

/** What decides: an answer, a route, an identity, a limit. */
export const mutationParts: readonly MutationPart[] = [
  { name: 'domain', sources: ['src/domain/**/*.ts'], tests: ['test/domain/**/*.test.ts'] },
  {
    name: 'identity',
    sources: [
      'src/proxy/accepted-credentials.ts',
      'src/proxy/accepted-tokens.ts',
      'src/proxy/authenticate.ts',
      'src/proxy/bearer-token.ts',
      'src/proxy/certificate-rules.ts',
      'src/proxy/client-certificate.ts',
      'src/proxy/request-identity.ts',
      'src/proxy/user-info.ts',
    ],
    tests: ['test/proxy/{authentication,forwarded-headers}.test.ts', 'test/integration/identity.test.ts'],
  },
  {
    name: 'limits',
    sources: ['src/proxy/admission.ts', 'src/proxy/limits.ts', 'src/proxy/running-requests.ts'],
    tests: ['test/proxy/limits.test.ts', 'test/proxy/running-requests.test.ts', 'test/proxy/drain.test.ts'],
  },
  {
    name: 'routing',
    sources: [
      'src/proxy/ask-served.ts',
      'src/proxy/classify-not-found.ts',
      'src/proxy/classify-refusal.ts',
      'src/proxy/discovery-path.ts',
      'src/proxy/forward.ts',
      'src/proxy/handler.ts',
      'src/http/server/objections.ts',
      'src/proxy/peer-health.ts',
      'src/proxy/plan-request.ts',
    ],
    tests: [
      'test/proxy/broken-answers.test.ts',
      'test/proxy/classify-not-found.test.ts',
      'test/proxy/forward.test.ts',
      'test/proxy/hung-servers.test.ts',
      'test/proxy/peer-health.test.ts',
      'test/proxy/plan-request.test.ts',
      'test/proxy/routing.test.ts',
    ],
  },
];
