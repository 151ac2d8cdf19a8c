import { type Answer, type AnswerContext, answerObject, type SimulatedRequest } from './answer.ts';

/** Answers the reviews that components create; undefined for any other kind. Every known user may do everything. */
export function answerReview(
  request: SimulatedRequest,
  { users }: AnswerContext,
  apiVersion: string,
  kind: string,
): Answer | undefined {
  const body = (request.body ?? {}) as { readonly spec?: { readonly token?: string } };
  const answer = (status: object) => answerObject({ ...body, apiVersion, kind, status }, 201);
  const userInfo = (user = request.user) => ({ username: user?.name, groups: user?.groups });
  switch (kind) {
    case 'SelfSubjectReview':
      return answer({ userInfo: userInfo() });
    case 'TokenReview': {
      const user = users.get(body.spec?.token ?? '');
      return answer(user === undefined ? { authenticated: false } : { authenticated: true, user: userInfo(user) });
    }
    case 'SubjectAccessReview':
    case 'LocalSubjectAccessReview':
    case 'SelfSubjectAccessReview':
      return answer({ allowed: true, reason: 'simulated' });
    default:
      return undefined;
  }
}
