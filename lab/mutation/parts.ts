/** Source files to mutate, and the tests that should notice. */
export interface MutationPart {
  readonly name: string;
  readonly sources: readonly string[];
  readonly tests: readonly string[];
}

/** The code that decides on an answer, a route, an identity or a limit. */
export const mutationParts: readonly MutationPart[] = [
  { name: 'domain', sources: ['src/domain/**/*.ts'], tests: ['test/domain/**/*.test.ts'] },
  {
    name: 'identity',
    sources: ['src/proxy/identity/*.ts'],
    tests: ['test/proxy/{identity/*,request/forwarded-headers}.test.ts', 'test/integration/identity.test.ts'],
  },
  {
    name: 'limits',
    sources: ['src/proxy/admission/admission.ts', 'src/proxy/limits.ts', 'src/proxy/admission/running-requests.ts'],
    tests: [
      'test/proxy/admission/admission.test.ts',
      'test/proxy/admission/limits.test.ts',
      'test/proxy/admission/running-requests.test.ts',
      'test/proxy/front/drain.test.ts',
    ],
  },
  {
    name: 'routing',
    sources: [
      'src/proxy/forward/ask-served.ts',
      'src/proxy/forward/classify-not-found.ts',
      'src/proxy/forward/classify-refusal.ts',
      'src/proxy/discovery/discovery-path.ts',
      'src/proxy/forward/forward.ts',
      'src/proxy/front/handler.ts',
      'src/http/server/objections.ts',
      'src/proxy/servers/peer-health.ts',
      'src/proxy/plan/plan-request.ts',
    ],
    tests: [
      'test/proxy/discovery/discovery-path.test.ts',
      'test/proxy/forward/broken-answers.test.ts',
      'test/proxy/forward/classify-not-found.test.ts',
      'test/proxy/forward/forward.test.ts',
      'test/proxy/servers/hung-servers.test.ts',
      'test/proxy/servers/peer-health.test.ts',
      'test/proxy/plan/plan-request.test.ts',
      'test/proxy/routing.test.ts',
    ],
  },
];
