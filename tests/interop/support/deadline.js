// Waiting for an event, and never for longer than a test may take.

const PATIENCE_MS = 8000;

/** Settles like `promise`, or fails when its time is over; `what` says what did not happen, and may be a function. */
export async function within(promise, what, patienceMs = PATIENCE_MS) {
    let timer;
    const late = new Promise((_, reject) => {
        timer = setTimeout(() => {
            reject(new Error(`not within ${patienceMs} ms: ${typeof what === 'function' ? what() : what}`));
        }, patienceMs);
    });
    try {
        return await Promise.race([promise, late]);
    } finally {
        clearTimeout(timer);
    }
}
