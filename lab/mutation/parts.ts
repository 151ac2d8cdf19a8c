/** Source files to mutate, and the tests that should notice. */
export interface MutationPart {
  readonly name: string;
  readonly sources: readonly string[];
  readonly tests: readonly string[];
}

/**
 * The code that decides on an answer, a route, an identity or a limit, and the tests that need no sockets. A mutant
 * without a socket takes milliseconds, and none fails because the machine is busy.
 */
export const mutationParts: readonly MutationPart[] = [
  { name: 'domain', sources: ['src/domain/**/*.ts'], tests: ['test/domain/**/*.test.ts'] },
  {
    name: 'identity',
    sources: ['src/proxy/identity/*.ts'],
    tests: [
      'test/proxy/forward/forward.test.ts',
      'test/proxy/identity/{accepted,authenticate,bearer-token,certificate-rules,client-certificate,user-info}.test.ts',
      'test/proxy/request/forwarded-headers.test.ts',
    ],
  },
  {
    name: 'limits',
    sources: ['src/proxy/admission/admission.ts', 'src/proxy/limits.ts', 'src/proxy/admission/running-requests.ts'],
    tests: [
      'test/proxy/admission/admission.test.ts',
      'test/proxy/admission/running-requests.test.ts',
      'test/proxy/limits.test.ts',
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
      'test/http/server/objections.test.ts',
      'test/proxy/discovery/discovery-path.test.ts',
      'test/proxy/forward/ask-served.test.ts',
      'test/proxy/forward/classify-not-found.test.ts',
      'test/proxy/forward/classify-refusal.test.ts',
      'test/proxy/forward/forward-decisions.test.ts',
      'test/proxy/forward/forward.test.ts',
      'test/proxy/front/handler.test.ts',
      'test/proxy/plan/plan-request.test.ts',
      'test/proxy/servers/peer-health.test.ts',
    ],
  },
];
