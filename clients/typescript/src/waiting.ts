/** Wait; throws what the signal says when it is aborted. */
export async function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  await new Promise<void>((resolve, reject) => {
    const stopped = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stopped);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", stopped, { once: true });
  });
}

/** How long to wait after so many failures: doubled each time, and never quite the same for two clients. */
export function backoffMs(failures: number, initialMs: number, maxMs: number): number {
  return Math.min(maxMs, initialMs * 2 ** (failures - 1)) * (0.8 + 0.4 * Math.random());
}
