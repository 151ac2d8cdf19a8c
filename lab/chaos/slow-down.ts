import { readFileSync } from 'node:fs';
import type { Scene } from './scene.ts';

const turnMs = 200;

/**
 * Lets all processes run only this share of the time, in step, as on an undersized machine. Returns a function that
 * ends it.
 *
 * A process that something else has stopped stays stopped.
 */
export function slowDown(scene: Pick<Scene, 'pidOf'>, names: readonly string[], percent: number): () => void {
  if (percent >= 100) return () => {};
  let stopped: number[] = [];
  const send = (pid: number, signal: NodeJS.Signals): boolean => {
    try {
      return process.kill(pid, signal);
    } catch {
      return false;
    }
  };
  const goOn = () => {
    for (const pid of stopped) send(pid, 'SIGCONT');
    stopped = [];
  };
  const stop = () => {
    const pids = names.map((name) => scene.pidOf(name)).filter((pid) => pid !== undefined);
    stopped = pids.filter((pid) => !isStopped(pid) && send(pid, 'SIGSTOP'));
    setTimeout(goOn, turnMs * (1 - percent / 100));
  };
  const timer = setInterval(stop, turnMs);
  return () => {
    clearInterval(timer);
    goOn();
  };
}

function isStopped(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') T ');
  } catch {
    return true;
  }
}
