/** Answers that end their connection. */

/** Milliseconds for an answer to leave before its connection is cut off. */
const CUT_OFF_MS = 50;

/**
 * Answers a request and ends its connection: the runtime would read the body for as long as anybody sends one. There is no call
 * for that, but an answer that ends before its announced length is cut off.
 */
export function cutOff(status: number, text: string, headers: Record<string, string>): Response {
  const bytes = new TextEncoder().encode(text);
  let timer: ReturnType<typeof setTimeout>;
  const body = new ReadableStream({
    start(controller) {
      controller.enqueue(bytes);
      timer = setTimeout(() => controller.close(), CUT_OFF_MS);
    },
    cancel: () => clearTimeout(timer),
  });
  return new Response(body, { status, headers: { ...headers, "content-length": String(bytes.length + 1) } });
}
