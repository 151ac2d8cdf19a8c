/** Why a request is not handled. */
export interface HttpRefusal {
  readonly status: number;
  readonly message: string;
  readonly retryAfterSeconds?: number;
}

/** The refusal of a head for which there is no room. */
export const noHeadRoom: Readonly<HttpRefusal> = {
  status: 429,
  message: 'this proxy has too many long request heads at once, please try again later',
  retryAfterSeconds: 1,
};
