import { findPrometheus, type PrometheusProgram } from '../../lab/prepare-machine.ts';

/** Path of one of Prometheus' programs; where there is none, the test is skipped, and `make test` has said why. */
export async function requirePrometheus(context: Mocha.Context, program: PrometheusProgram): Promise<string> {
  return (await findPrometheus(program)) ?? context.skip();
}
