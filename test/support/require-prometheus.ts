import { findPrometheus, type PrometheusProgram } from '../../lab/prepare-machine.ts';

/** The path of a Prometheus program. Without it, the test is skipped, and `make test` has said why. */
export async function requirePrometheus(context: Mocha.Context, program: PrometheusProgram): Promise<string> {
  return (await findPrometheus(program)) ?? context.skip();
}
